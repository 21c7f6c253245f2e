"""A recheck over manifests in a real lake, with a vendor that answers what it is told."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import asynccontextmanager

import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import write_raw_manifest
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import (
    InvalidInput,
    KeyLocked,
    NoEntitlement,
    VendorUnavailable,
)
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import RevisionsFile
from tickhandler_dagster.market.revisions import RevisionState, VendorFile
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.recheck import read_revisions, recheck, to_repair

CELL = VenueDay(dt.date(2024, 8, 8), VenueId.DERIBIT)
TYPES = (DataType.TRADES, DataType.QUOTES)
SIZE = 100


class Vendor:
    """Answers by symbol; others have a file of `SIZE` bytes. Counts what goes on at once."""

    def __init__(self, **answers):
        self.answers = answers
        self.asked = []
        self.most = 0
        self._now = 0

    @asynccontextmanager
    async def opened(self, *, content=False):
        del content
        yield self._ask

    async def _ask(self, file):
        self.asked.append((file.data_type, file.symbol))
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(0.001)
        self._now -= 1
        answer = self.answers.get(file.symbol, VendorFile(SIZE))
        if isinstance(answer, Exception):
            raise answer
        return answer


def row(data_type, key, *, source=None, state=DataState.PRESENT):
    is_taken = state is DataState.PRESENT
    return ManifestRow(
        date=CELL.date,
        venue=CELL.venue,
        data_type=data_type,
        instrument_key=key,
        tardis_symbol=key,
        source_symbol=source or key,
        state=state,
        kernel_version="1",
        is_simulated=True,
        source_bytes=SIZE if is_taken else 0,
        source_sha256="a" * 64 if is_taken else None,
    )


@pytest.fixture
def lake(tmp_path):
    """Of each type two files: one of two instruments, one of one; and one that failed."""
    lake = Lake(LocalObjectStore(tmp_path))
    for one in TYPES:
        rows = [
            row(one, "A", source="OPTIONS"),
            row(one, "B", source="OPTIONS"),
            row(one, "C"),
            row(one, "D", state=DataState.FAILED),
        ]
        write_raw_manifest(lake, CELL, one, rows)
    return lake


def look(lake, vendor, *types, **more):
    return recheck(CELL, lake=lake, data_types=types, probe=vendor, **more)


def test_every_file_is_asked_about_once_and_no_more_at_once_than_told(lake):
    vendor, steps = Vendor(D=None), []
    result = look(lake, vendor, at_once=2, on_progress=steps.append)
    assert sorted(vendor.asked) == [
        (one, name) for one in sorted(TYPES) for name in ("C", "D", "OPTIONS")
    ]
    assert vendor.most == 2
    assert result.by_state == {RevisionState.SAME: 4, RevisionState.ABSENT: 2}
    assert [step.done for step in steps] == [1, 2, 3, 4, 5, 6]
    assert read_revisions(lake, CELL) == list(result.revisions)


def test_a_second_look_writes_the_same_bytes(lake):
    path = RevisionsFile(CELL.date, CELL.venue)
    first = look(lake, Vendor(D=None))
    digest = lake.digest(path)
    assert look(lake, Vendor(D=None)) == first
    assert lake.digest(path) == digest


def test_results_of_types_that_are_not_asked_about_stay(lake):
    look(lake, Vendor(C=VendorFile(SIZE + 1), D=None))
    vendor = Vendor(C=None, D=None)
    result = look(lake, vendor, DataType.TRADES)
    assert {data_type for data_type, _ in vendor.asked} == {DataType.TRADES}
    assert result.by_state == {
        RevisionState.SAME: 2,
        RevisionState.CHANGED: 1,
        RevisionState.GONE: 1,
        RevisionState.ABSENT: 2,
    }


def test_what_is_to_be_fetched_again_names_partition_and_instruments(lake):
    answers = {"OPTIONS": VendorFile(SIZE - 1), "C": None, "D": VendorFile(5)}
    result = look(lake, Vendor(**answers), DataType.QUOTES)
    ((broken, instruments),) = to_repair(result.revisions)
    assert (broken.data_type, broken.cell) == (DataType.QUOTES, CELL)
    assert instruments == ("A", "B", "D")
    assert sum(broken.files.values()) == 2


def test_a_file_without_an_answer_is_unknown_and_the_others_go_on(lake):
    result = look(
        lake, Vendor(C=VendorUnavailable("it", "is down", remedy="Wait"), D=None), DataType.TRADES
    )
    assert result.by_state == {
        RevisionState.SAME: 1,
        RevisionState.ABSENT: 1,
        RevisionState.UNKNOWN: 1,
    }
    (unknown,) = [item for item in result.revisions if item.state is RevisionState.UNKNOWN]
    assert "is down" in unknown.reason


def test_a_lock_of_the_key_ends_the_look_and_stores_nothing(lake):
    with pytest.raises(KeyLocked):
        look(lake, Vendor(C=KeyLocked("the key", "is in use", remedy="Wait")))
    assert read_revisions(lake, CELL) is None


def test_a_key_that_covers_no_file_is_an_error_and_one_that_covers_some_is_not(lake):
    no = NoEntitlement("the key", "does not cover it", remedy="Buy")
    with pytest.raises(NoEntitlement):
        look(lake, Vendor(C=no, D=no, OPTIONS=no))
    assert look(lake, Vendor(C=no, D=no)).by_state[RevisionState.UNKNOWN] == 4


def test_nothing_taken_is_a_sentence(lake):
    with pytest.raises(InvalidInput, match="nothing was taken"):
        look(lake, Vendor(), DataType.LIQUIDATIONS)
    with pytest.raises(InvalidInput, match="Materialize raw_ticks"):
        recheck(CELL.shifted(1), lake=lake, data_types=(), probe=Vendor())
