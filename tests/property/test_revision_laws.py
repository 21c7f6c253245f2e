"""Laws of comparing what was taken with what the vendor has."""

from __future__ import annotations

import dataclasses
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.revisions import (
    REVISION_STATE_MEANINGS,
    RevisionState,
    TakenFile,
    VendorFile,
    compare,
    taken_files,
    unanswered,
)
from tickhandler_dagster.market.revisions_table import (
    REVISIONS_TABLE,
    revisions_frame,
    revisions_of,
)
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId

DAY = dt.date(2024, 8, 8)
MD5 = ("a" * 32, "b" * 32)
SHA = ("c" * 64, "d" * 64)
TAKEN = TakenFile(
    date=DAY,
    venue=VenueId.BINANCE,
    data_type=DataType.TRADES,
    source_symbol="BTCUSDT",
    instrument_keys=("BINANCE:SPOT_PAIR:BTC-USDT",),
    is_simulated=True,
    bytes=1_000,
    sha256=SHA[0],
)
MODIFIED = st.sampled_from(
    [None, dt.datetime(2024, 8, 9, 6, tzinfo=dt.UTC), dt.datetime(2024, 9, 1, tzinfo=dt.UTC)]
)
HEADERS = st.builds(
    VendorFile,
    bytes=st.sampled_from([None, 1_000, 1_001]),
    md5=st.sampled_from([None, *MD5]),
    etag=st.sampled_from([None, "one", "two"]),
    last_modified=MODIFIED,
)
ANSWERS = st.one_of(
    st.none(),
    HEADERS,
    st.builds(
        lambda file, sha: dataclasses.replace(file, sha256=sha), HEADERS, st.sampled_from(SHA)
    ),
)
LOOKS = st.lists(st.one_of(ANSWERS, st.just("no answer")), max_size=6)


def look(looks, taken=TAKEN):
    """The result after these answers, one after another."""
    result = None
    for answer in looks:
        if answer == "no answer":
            result = unanswered(taken, "silence", result)
        else:
            result = compare(taken, answer, result)
    return result


def test_every_state_has_a_meaning():
    assert set(REVISION_STATE_MEANINGS) == set(RevisionState)
    assert not {state for state in RevisionState if state.is_as_taken and state.is_repairable}


@given(LOOKS, HEADERS)
def test_another_size_is_always_a_change(looks, headers):
    answer = dataclasses.replace(headers, bytes=1_001, sha256=None)
    result = compare(TAKEN, answer, look([*looks, None]))
    assert result.state is RevisionState.CHANGED


@given(LOOKS, HEADERS, st.sampled_from(SHA))
def test_content_decides_whatever_was_known(looks, headers, sha256):
    result = look([*looks, dataclasses.replace(headers, sha256=sha256)])
    expected = RevisionState.SAME if sha256 == TAKEN.sha256 else RevisionState.CHANGED
    assert result.state is expected


@given(LOOKS, ANSWERS)
def test_the_same_answer_again_gives_the_same_result(looks, answer):
    once = look([*looks, answer])
    assert look([*looks, answer, answer]) == once


@given(LOOKS, HEADERS)
def test_a_change_stays_until_something_proves_that_it_is_gone(looks, headers):
    changed = look([*looks, dataclasses.replace(headers, sha256=SHA[1])])
    assert unanswered(TAKEN, "silence", changed).state is RevisionState.CHANGED
    bare = compare(TAKEN, VendorFile(bytes=1_000), changed)
    assert bare.state is RevisionState.CHANGED


@given(LOOKS, HEADERS)
def test_a_file_that_was_fetched_again_is_compared_with_nothing_of_before(looks, headers):
    now = dataclasses.replace(TAKEN, sha256=SHA[1])
    assert compare(now, headers, look(looks)) == compare(now, headers)


@given(LOOKS)
def test_what_is_not_there_is_gone_or_was_never_there(looks):
    assert look([*looks, None]).state is RevisionState.GONE
    never = dataclasses.replace(TAKEN, bytes=0, sha256=None)
    assert look([*looks, None], never).state is RevisionState.ABSENT
    assert look([*looks, VendorFile(bytes=5)], never).state is RevisionState.APPEARED


@given(st.lists(LOOKS.filter(len), max_size=4))
def test_results_go_into_the_table_and_come_back(histories):
    results = [
        look(looks, dataclasses.replace(TAKEN, source_symbol=f"S{number}"))
        for number, looks in enumerate(histories)
    ]
    frame = revisions_frame(results)
    assert frame.schema == REVISIONS_TABLE.polars_schema
    assert SchemaCheck(REVISIONS_TABLE).run([("a cell", frame)]).has_passed
    assert revisions_of(frame) == results


@pytest.mark.parametrize(
    ("known", "today", "state"),
    [
        (VendorFile(1_000, MD5[0], "one"), VendorFile(1_000, MD5[0], "two"), "same"),
        (VendorFile(1_000, MD5[0], "one"), VendorFile(1_000, MD5[1], "one"), "changed"),
        (VendorFile(1_000, None, "one"), VendorFile(1_000, MD5[0], "two"), "unknown"),
        (VendorFile(1_000, MD5[0], "one"), VendorFile(1_000, None, "two"), "unknown"),
        (VendorFile(1_000, MD5[0], "one"), VendorFile(1_000, None, "one"), "same"),
        (VendorFile(1_000), VendorFile(1_000), "same"),
        (VendorFile(1_000), VendorFile(None), "unknown"),
    ],
)
def test_the_strongest_header_that_both_looks_have_decides(known, today, state):
    first = compare(TAKEN, known)
    assert first.state is RevisionState.SAME
    assert compare(TAKEN, today, first).state.value == state


def row(key, **fields):
    return ManifestRow(
        date=DAY,
        venue=VenueId.DERIBIT,
        data_type=DataType.TRADES,
        instrument_key=key,
        tardis_symbol=key,
        kernel_version="1",
        is_simulated=False,
        **fields,
    )


def test_rows_of_a_grouped_file_are_one_file_and_days_not_exported_are_left_out():
    rows = [
        row("B", source_symbol="OPTIONS", state=DataState.EMPTY, source_bytes=7, source_sha256="x"),
        row(
            "A",
            source_symbol="OPTIONS",
            state=DataState.PRESENT,
            source_bytes=7,
            source_sha256="x",
            rows_before_day=2,
        ),
        row("C", source_symbol="C", state=DataState.FAILED),
        row("D", source_symbol="D", state=DataState.NOT_EXPORTED_YET),
    ]
    single, grouped = taken_files(rows)
    assert (single.source_symbol, single.sha256) == ("C", None)
    assert (grouped.instrument_keys, grouped.bytes, grouped.sha256) == (("A", "B"), 7, "x")
    assert grouped.days_with_its_rows == (dt.date(2024, 8, 7), DAY)
