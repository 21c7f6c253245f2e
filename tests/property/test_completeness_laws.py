"""Completeness: every expected pair has exactly one row, whatever is known and in which order."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.catalog import DatasetSymbol, ExchangeCatalog, midnight
from tickhandler_dagster.market.completeness import TypeEvidence, completeness_of
from tickhandler_dagster.market.completeness_table import (
    COMPLETENESS_TABLE,
    completeness_frame,
    completeness_rows,
)
from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.days import US_PER_DAY, VenueDay
from tickhandler_dagster.market.holes import holes_of
from tickhandler_dagster.market.planning import (
    ExpectedInstrument,
    expected_instruments,
    unfetched_row,
)
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.gaps import Gap, GapKind
from tickhandler_dagster.market.quality.policy import (
    DEFAULT_OF_STATE,
    PolicyRule,
    QualityPolicy,
    Verdict,
)
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.states import INGEST_STATES, DataState
from tickhandler_dagster.market.venues import VENUES, VenueId

DAY = dt.date(2024, 8, 8)
CELL = VenueDay(DAY, VenueId.DERIBIT)
START = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)
LATE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
US = dt.timedelta(microseconds=1)
HERE = VENUES[VenueId.DERIBIT].data_types

NAMES = {"BTC-USD": "PERPETUAL", "BTC-USD-240927": "FUTURE", "BTC-USD-240809-60000-CALL": "OPTION",
         "BTC-USD-240809-60000-PUT": "OPTION"}  # fmt: skip
TYPES = [str(one) for one in DataType if one is not DataType.OPTIONS_CHAIN]
UNIVERSE = pl.DataFrame(
    [
        {
            "instrument_key": f"DERIBIT:{kind}:{name}",
            "tardis_symbol": name,
            "instrument_type": kind,
            "data_types": TYPES,
            "is_simulated": False,
        }
        for name, kind in NAMES.items()
    ]
)
KEYS = UNIVERSE["instrument_key"].to_list()
GONE = "DERIBIT:FUTURE:BTC-USD-240809"


def catalog(*, groups=tuple(GroupSymbol), until=LATE):
    return ExchangeCatalog(
        venue=VenueId.DERIBIT,
        name="Deribit",
        available_since=START,
        exported_from=START,
        exported_until=until,
        symbols=(),
        groups=tuple(
            DatasetSymbol(group, "", START, None, tuple(DataType), group) for group in groups
        ),
        incidents=(),
        is_simulated=False,
    )


def manifest_row(data_type, key, state, reason="why"):
    item = ExpectedInstrument(key, key.split(":")[2], key.split(":")[1], is_simulated=False)
    return unfetched_row(
        CELL, data_type, item, source_symbol=item.tardis_symbol, state=state, reason=reason
    )


def gap(data_type, key, first_us, length_us, *, kind=GapKind.SILENCE, lost=None):
    start = midnight(DAY) + first_us * US
    return Gap(
        date=DAY,
        venue=VenueId.DERIBIT,
        data_type=data_type,
        instrument_key=key,
        kind=kind,
        gap_start=start,
        gap_end=start + length_us * US,
        evidence="proof",
        lost_trades=lost,
    )


@st.composite
def gaps(draw, data_type, key):
    kind = draw(st.sampled_from(GapKind))
    return gap(
        data_type,
        key,
        draw(st.integers(-10_000_000, US_PER_DAY - 1)),
        draw(st.one_of(st.integers(0, 5_000_000), st.integers(0, US_PER_DAY))),
        kind=kind,
        lost=draw(st.integers(0, 9)) if kind is GapKind.LOST_IDS else None,
    )


@st.composite
def evidences(draw):
    found = {}
    for data_type in draw(st.sets(st.sampled_from(DataType))):
        keys = draw(st.lists(st.sampled_from([*KEYS, GONE]), unique=True))
        rows = [manifest_row(data_type, key, draw(st.sampled_from(INGEST_STATES))) for key in keys]
        holes = [draw(gaps(data_type, key)) for key in keys for _ in range(draw(st.integers(0, 3)))]
        findings = [
            Finding(
                date=DAY,
                venue=VenueId.DERIBIT,
                source=data_type.value,
                instrument_key=key,
                rule=draw(st.sampled_from(RuleName)),
                rows=1,
                of_rows=1,
                sample="",
            )
            for key in draw(st.sets(st.sampled_from(keys)) if keys else st.just(set()))
        ]
        found[data_type] = TypeEvidence(manifest=rows, gaps=holes, findings=findings)
    return found


RULES = st.builds(
    PolicyRule,
    verdict=st.sampled_from(Verdict),
    data_types=st.lists(st.sampled_from(DataType), max_size=2).map(tuple),
    states=st.lists(st.sampled_from(DataState), max_size=2).map(tuple),
)
POLICIES = st.lists(RULES, max_size=3).map(lambda rules: QualityPolicy(tuple(rules)))
WANTED = st.sets(st.sampled_from(DataType))


def build(evidence, *, wanted=tuple(DataType), policy=None, catalogue=None):
    return completeness_of(
        CELL,
        universe=UNIVERSE,
        catalog=catalogue or catalog(),
        evidence=evidence,
        wanted=wanted,
        policy=policy or QualityPolicy(),
    )


def pairs(rows):
    return [(row.data_type, row.instrument_key) for row in rows]


@given(evidences(), WANTED, POLICIES, st.booleans())
@settings(max_examples=60)
def test_every_expected_pair_and_every_manifest_row_has_exactly_one_row(
    evidence, wanted, policy, is_out
):
    rows = build(
        evidence,
        wanted=wanted,
        policy=policy,
        catalogue=catalog(until=LATE if is_out else midnight(DAY)),
    )
    expected = {
        (data_type, item.instrument_key)
        for data_type in HERE
        for item in expected_instruments(UNIVERSE, data_type)
    }
    ingested = {
        (data_type, row.instrument_key)
        for data_type, known in evidence.items()
        for row in known.manifest
    }
    assert len(pairs(rows)) == len(set(pairs(rows)))
    assert set(pairs(rows)) == expected | ingested
    assert SchemaCheck(COMPLETENESS_TABLE).run([("", completeness_frame(rows))]).has_passed
    assert completeness_rows(completeness_frame(rows)) == rows
    assert all(row.reason for row in rows)


@given(evidences(), POLICIES, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_order_of_what_is_known_does_not_matter(evidence, policy, random):
    def shuffled(items):
        return random.sample(items, len(items))

    other = {
        data_type: TypeEvidence(
            manifest=shuffled(known.manifest),
            gaps=shuffled(known.gaps),
            findings=shuffled(known.findings),
        )
        for data_type, known in shuffled(list(evidence.items()))
    }
    assert build(other, policy=policy) == build(evidence, policy=policy)


@given(evidences(), WANTED, POLICIES)
@settings(max_examples=40)
def test_a_state_is_that_of_the_manifest_but_for_holes(evidence, wanted, policy):
    rows = {(row.data_type, row.instrument_key): row for row in build(
        evidence, wanted=wanted, policy=policy
    )}  # fmt: skip
    for data_type, known in evidence.items():
        holed = {one.instrument_key for one in known.gaps}
        for said in known.manifest:
            row = rows.pop((data_type, said.instrument_key))
            is_partial = said.state is DataState.PRESENT and said.instrument_key in holed
            assert row.state is (DataState.PARTIAL if is_partial else said.state)
            assert (row.gaps > 0) == (said.instrument_key in holed)
            assert 0 <= row.gap_us <= US_PER_DAY
    for (data_type, _), row in rows.items():  # what no manifest speaks of
        assert row.state is DataState.NOT_INGESTED
        if data_type not in wanted and data_type not in evidence:
            assert row.verdict is Verdict.IGNORE


@given(st.lists(gaps(DataType.TRADES, KEYS[0]), min_size=1, max_size=6))
def test_time_in_holes_counts_every_moment_of_the_day_once(found):
    holes = holes_of(DAY, found)
    first, last = midnight(DAY), midnight(DAY) + dt.timedelta(days=1)
    # Independent of the merge: between two neighbouring edges a moment is in a gap or it is not.
    edges = sorted(
        {min(max(edge, first), last) for one in found for edge in (one.gap_start, one.gap_end)}
    )
    covered = sum(
        (right - left) // US
        for left, right in pairwise(edges)
        if any(one.gap_start <= left and right <= one.gap_end for one in found)
    )
    assert holes.us == covered
    ends = [edge for span in holes.spans for edge in span]
    assert ends == sorted(ends)
    assert holes.longest in holes.spans
    assert max(end - start for start, end in holes.spans) == holes.longest[1] - holes.longest[0]


def test_every_state_is_reachable():
    evidence = {
        DataType.TRADES: TypeEvidence(
            manifest=[manifest_row(DataType.TRADES, key, DataState.PRESENT) for key in KEYS],
            gaps=[gap(DataType.TRADES, KEYS[0], 0, 1)],
        ),
        **{
            data_type: TypeEvidence(manifest=[manifest_row(data_type, KEYS[0], state)])
            for data_type, state in zip(
                [one for one in DataType if one is not DataType.TRADES],
                [state for state in INGEST_STATES if state is not DataState.NOT_INGESTED],
                strict=True,
            )
        },
    }
    states = {row.state for row in build(evidence)}
    states |= {row.state for row in build({}, catalogue=catalog(groups=()))}
    states |= {row.state for row in build({}, catalogue=catalog(until=midnight(DAY)))}
    assert states == set(DataState)


def test_what_the_catalogue_decides_needs_no_run():
    out = build({}, catalogue=catalog(until=midnight(DAY)))
    assert {row.state for row in out} == {DataState.NOT_EXPORTED_YET}
    assert {row.verdict for row in out} == {Verdict.WARNING}
    chain = [
        row
        for row in build({}, catalogue=catalog(groups=()))
        if row.data_type is DataType.OPTIONS_CHAIN
    ]
    assert {row.state for row in chain} == {DataState.NOT_LISTED}
    assert len(chain) == 2


def test_what_nobody_downloads_is_not_missed_and_what_was_ingested_once_is():
    evidence = {
        DataType.QUOTES: TypeEvidence(
            manifest=[manifest_row(DataType.QUOTES, KEYS[0], DataState.FAILED)]
        )
    }
    rows = build(evidence, wanted=())
    by_type = {data_type: {row.verdict for row in rows if row.data_type is data_type}
               for data_type in HERE}  # fmt: skip
    assert by_type.pop(DataType.QUOTES) == {Verdict.ERROR, Verdict.WARNING}
    assert set().union(*by_type.values()) == {Verdict.IGNORE}
    reasons = {row.reason for row in rows if row.data_type is DataType.QUOTES}
    assert any("the universe did not list" in reason for reason in reasons)


def test_the_reason_of_a_partial_day_has_its_numbers():
    found = [
        gap(DataType.TRADES, KEYS[0], 14 * 3_600_000_000, 600_000_000),
        gap(DataType.TRADES, KEYS[0], 14 * 3_600_000_000 + 5, 1, kind=GapKind.LOST_IDS, lost=412),
        gap(DataType.TRADES, KEYS[0], 16 * 3_600_000_000, 3_000_000),
    ]
    evidence = {
        DataType.TRADES: TypeEvidence(
            manifest=[manifest_row(DataType.TRADES, KEYS[0], DataState.PRESENT)], gaps=found
        )
    }
    (row,) = [one for one in build(evidence) if one.state is DataState.PARTIAL]
    assert row.reason == (
        "2 holes, 10 min 3 s in all; the longest 14:00:00 to 14:10:00, 412 trades lost"
    )
    assert (row.gaps, row.gap_us, row.lost_trades) == (2, 603_000_000, 412)
    assert row.verdict is DEFAULT_OF_STATE[DataState.PARTIAL]
    assert row.longest_gap_start == found[0].gap_start
    assert row.longest_gap_end == found[0].gap_end


def test_a_hole_to_the_end_of_the_day_and_a_short_one_read_well():
    to_the_end = holes_of(DAY, [gap(DataType.TRADES, KEYS[0], 23 * 3_600_000_000, US_PER_DAY)])
    assert to_the_end.sentence == "1 hole of 1 h, 23:00:00 to 24:00:00"
    short = holes_of(DAY, [gap(DataType.TRADES, KEYS[0], 0, 250_000)], lost_in_file=1)
    assert short.sentence == "1 hole of 250 ms, 00:00:00.000000 to 00:00:00.250000, 1 trade lost"
    assert holes_of(DAY, []).sentence == ""
    assert holes_of(DAY, [], lost_in_file=0).lost_trades == 0
