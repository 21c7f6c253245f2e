"""A span's completeness added up: nothing is counted twice, and nothing that is absent is green."""

import csv
import dataclasses
import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.completeness_table import COMPLETENESS_TABLE, completeness_frame
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData, InvalidInput
from tickhandler_dagster.market.json_fields import canonical_json
from tickhandler_dagster.market.paths import (
    CatalogFile,
    CompletenessFile,
    FindingsFile,
    TickGapsFile,
)
from tickhandler_dagster.market.quality.findings import FINDINGS_TABLE, Finding, findings_frame
from tickhandler_dagster.market.quality.gaps import GAPS_TABLE, Gap, GapKind, gaps_frame
from tickhandler_dagster.market.quality.policy import QualityPolicy, Verdict, parse_policy
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline import (
    completeness_evidence,
    completeness_reading,
    completeness_report,
)
from tickhandler_dagster.pipeline.completeness_export import RowsExport
from tickhandler_dagster.pipeline.completeness_reading import WHOLE_CELL, ReportSpan
from tickhandler_dagster.pipeline.completeness_report import build_report
from tickhandler_dagster.pipeline.completeness_runs import join_runs, runs_of, shorten

DAY = dt.date(2024, 8, 8)
NOON = dt.datetime(2024, 8, 8, 12, tzinfo=dt.UTC)
TEN_MINUTES = 600_000_000


def _day(offset):
    return DAY + dt.timedelta(days=offset)


def _span(days=3, venues=("binance",), types=("trades",)):
    return ReportSpan(
        start=DAY,
        end=_day(days - 1),
        venues=tuple(map(VenueId, venues)),
        data_types=tuple(map(DataType, types)),
    )


@pytest.fixture
def report_of(lake):
    def build(span, policy=None):
        batches = []
        report = build_report(
            span,
            lake=lake,
            policy=policy or QualityPolicy(),
            on_rows=batches.append,
            on_progress=lambda _: None,
        )
        return report, pl.concat(batches)

    return build


@given(
    states=st.lists(st.sampled_from(["present", "failed", "partial", "empty"]), min_size=1),
    cut=st.integers(1, 12),
)
def test_runs_hold_every_day_once_however_the_days_were_cut(completeness_row, states, cut):
    make = completeness_row
    rows = completeness_frame(make("A", state, day=_day(day)) for day, state in enumerate(states))
    pieces = [runs_of(rows[first : first + cut]) for first in range(0, rows.height, cut)]
    joined = join_runs(pl.concat(pieces))
    assert joined.equals(runs_of(rows))
    held = {
        (run["first"] + dt.timedelta(days=day), run["state"])
        for run in joined.iter_rows(named=True)
        for day in range(run["days"])
    }
    assert held == {(_day(day), state) for day, state in enumerate(states) if state != "present"}
    assert joined["days"].sum() == len(held)


def test_runs_of_batches_joined_are_the_runs_of_all_days(completeness_tables):
    make = completeness_tables.row
    rows = completeness_frame(
        make("BTC-USDT", "failed" if offset % 5 else "present", day=_day(offset))
        for offset in range(20)
    )
    whole = runs_of(rows)
    for size in (1, 3, 7):
        pieces = [rows[first : first + size] for first in range(0, rows.height, size)]
        assert join_runs(pl.concat(map(runs_of, pieces))).equals(whole)
    assert whole["days"].to_list() == [4, 4, 4, 4]
    assert whole["first"].to_list() == [_day(offset) for offset in (1, 6, 11, 16)]


def test_a_run_ends_where_the_reason_changes(completeness_tables):
    make = completeness_tables.row
    rows = [
        make("BTC-USDT", "failed", day=_day(offset), reason=reason)
        for offset, reason in enumerate(["503", "503", "cut", "503"])
    ]
    runs = runs_of(completeness_frame(rows)).sort("first")
    assert runs.select("reason", "days").rows() == [("503", 2), ("cut", 1), ("503", 1)]


def test_a_run_names_the_longest_hole_of_its_days_and_adds_up_the_time(completeness_tables):
    ends = [NOON + dt.timedelta(minutes=minutes, days=day) for day, minutes in enumerate((5, 9, 2))]
    rows = [
        completeness_tables.row(
            "BTC-USDT",
            "partial",
            day=_day(day),
            gaps=1,
            gap_us=60_000_000,
            lost_trades=None if day else 7,
            longest_gap_start=NOON + dt.timedelta(days=day),
            longest_gap_end=end,
        )
        for day, end in enumerate(ends)
    ]
    (run,) = runs_of(completeness_frame(rows)).to_dicts()
    assert (run["days"], run["gaps"], run["gap_us"], run["lost_trades"]) == (3, 3, 180_000_000, 7)
    assert run["longest_gap_end"] == ends[1]


def test_shortening_drops_what_is_settled_before_what_is_missing(completeness_tables):
    make = completeness_tables.row
    rows = [make("A-USDT", "not_listed"), make("B-USDT", "failed"), make("C-USDT", "empty")]
    runs = runs_of(completeness_frame(rows))
    assert shorten(runs, 1)["state"].to_list() == ["failed"]
    assert shorten(runs, 3).equals(runs)


def test_every_stored_row_is_counted_once_and_handed_on(completeness_tables, report_of):
    make = completeness_tables.row
    rows = [
        make("BTC-USDT", "present", rows=10, bytes=100),
        make("ETH-USDT", "partial", rows=5, gaps=1, gap_us=TEN_MINUTES, lost_trades=3),
        make("XRP-USDT", "failed"),
        make("BTC-USDT", "present", day=_day(1), rows=10),
        make("BTC-USDT", "present", data_type="quotes"),
    ]
    completeness_tables.write(*rows)
    report, handed = report_of(_span(days=2))
    assert handed.height == 4  # quotes were not asked for
    counts = {state: count for state, count in report.by_state().items() if count}
    assert counts == {DataState.PRESENT: 2, DataState.PARTIAL: 1, DataState.FAILED: 1}
    assert not any(report.whole_cells_by_state().values())
    assert report.totals()["rows"] == 25
    assert report.totals()["gap_us"] == TEN_MINUTES
    assert report.worst_verdict() is Verdict.ERROR
    assert report.shares()["share"].to_list() == [1 / 3, 1.0]
    assert report.simulated_rows == 4


def test_a_cell_without_a_table_is_not_ingested_and_counts_as_nothing(
    completeness_tables, report_of
):
    completeness_tables.write(completeness_tables.row("BTC-USDT"))
    report, rows = report_of(_span(days=2, types=("trades", "quotes")))
    absent = rows.filter(pl.col("instrument_key") == WHOLE_CELL)
    assert absent.select("date", "data_type", "state", "reason").rows() == [
        (_day(1), "quotes", "not_ingested", "completeness was never materialized"),
        (_day(1), "trades", "not_ingested", "completeness was never materialized"),
    ]
    assert report.whole_cells_by_state()[DataState.NOT_INGESTED] == 2
    assert report.by_state()[DataState.NOT_INGESTED] == 0
    assert report.shares()["share"].to_list() == [1.0, 0.0, 0.0]


def test_days_outside_the_vendors_files_are_no_reproach(lake, report_of):
    reply = {
        "id": "binance",
        "name": "Binance",
        "availableSince": "2024-08-09T00:00:00.000Z",
        "simulated": True,
        "availableSymbols": [],
        "incidentReports": [],
        "datasets": {
            "exportedFrom": "2024-08-09T00:00:00.000Z",
            "exportedUntil": "2024-08-10T00:00:00.000Z",
            "symbols": [],
        },
    }
    item = CatalogFile(VenueId.BINANCE, "catalog")
    lake.store.write(item.path, canonical_json(reply))
    report, rows = report_of(_span())
    assert rows["state"].to_list() == ["not_listed", "not_ingested", "not_exported_yet"]
    assert rows["reason"][0] == "the vendor's files begin on 2024-08-09"
    assert rows["reason"][2] == "the vendor's files end at 2024-08-10 00:00 UTC"
    assert report.shares().rows() == [(_day(1), "binance", "trades", 0.0)]
    assert report.worst["missing_days"].to_list() == [1]


def test_the_policy_says_how_a_cell_without_a_table_is_taken(report_of):
    strict = parse_policy([{"states": "not_ingested", "verdict": "error"}])
    assert report_of(_span())[0].worst_verdict() is Verdict.WARNING
    assert report_of(_span(), strict)[0].worst_verdict() is Verdict.ERROR


def test_instruments_are_ranked_by_missing_days_then_holes(completeness_tables, report_of):
    make = completeness_tables.row
    completeness_tables.write(
        make("A-USDT"),
        make("B-USDT", "partial", gaps=1, gap_us=TEN_MINUTES, lost_trades=2),
        make("C-USDT", "failed"),
        make("C-USDT", "failed", day=_day(1)),
        make("D-USDT", "not_listed"),
    )
    report, _ = report_of(_span(days=2))
    assert report.worst.select(
        "instrument_key", "missing_days", "partial_days", "gap_us", "lost_trades"
    ).rows() == [
        ("BINANCE:SPOT_PAIR:C-USDT", 2, 0, 0, None),
        ("BINANCE:SPOT_PAIR:B-USDT", 0, 1, TEN_MINUTES, 2),
    ]


def _gap():
    return Gap(
        date=DAY,
        venue=VenueId.BINANCE,
        data_type=DataType.TRADES,
        instrument_key="BINANCE:SPOT_PAIR:ETH-USDT",
        kind=GapKind.LOST_IDS,
        gap_start=NOON,
        gap_end=NOON + dt.timedelta(minutes=10),
        evidence="numbers 5 to 7 are missing",
        lost_trades=3,
    )


@pytest.fixture
def two_holes(completeness_tables):
    """A long hole on the first day, a short one on the second."""
    make, lake = completeness_tables.row, completeness_tables.lake
    for offset, minutes in enumerate((10, 1)):
        gap_us = minutes * 60_000_000
        day = _day(offset)
        completeness_tables.write(make("ETH-USDT", "partial", day=day, gaps=1, gap_us=gap_us))
        gap = dataclasses.replace(_gap(), date=day, evidence=f"{minutes} min")
        item = TickGapsFile(day, DataType.TRADES, VenueId.BINANCE)
        lake.write_table(item, gaps_frame([gap]), GAPS_TABLE)


def test_holes_are_read_with_their_evidence(two_holes, report_of):
    report, _ = report_of(_span(days=2))
    assert report.holes["evidence"].to_list() == ["10 min", "1 min"]
    assert report.left_out.hole_cells == 0


@pytest.mark.parametrize("budget", ["MAX_GAP_OBJECTS", "MAX_HOLES"])
def test_beyond_the_budget_the_longest_holes_are_read(two_holes, report_of, monkeypatch, budget):
    monkeypatch.setattr(completeness_evidence, budget, 1)
    monkeypatch.setattr(completeness_evidence, "_OBJECTS_AT_ONCE", 1)
    report, _ = report_of(_span(days=2))
    assert report.holes["evidence"].to_list() == ["10 min"]
    assert report.left_out.hole_cells == 1


def _finding(day, sample, source="trades", rows=2):
    return Finding(
        date=day,
        venue=VenueId.BINANCE,
        source=source,
        instrument_key="BINANCE:SPOT_PAIR:ETH-USDT",
        rule=RuleName.LOST_TRADE_IDS,
        rows=rows,
        of_rows=100,
        sample=sample,
    )


def test_broken_rules_are_added_up_with_the_latest_sample(lake, report_of, monkeypatch):
    for day, sample in ((DAY, "old"), (_day(1), "new"), (_day(9), "outside")):
        item = FindingsFile(day, VenueId.BINANCE, "trades")
        lake.write_table(item, findings_frame([_finding(day, sample)]), FINDINGS_TABLE)
    other = findings_frame([_finding(DAY, "of quotes", source="quotes")])
    lake.write_table(FindingsFile(DAY, VenueId.BINANCE, "quotes"), other, FINDINGS_TABLE)
    bars = findings_frame([_finding(DAY, "of bars", source="candles")])
    lake.write_table(FindingsFile(DAY, VenueId.BINANCE, "candles"), bars, FINDINGS_TABLE)
    broken = report_of(_span())[0].broken_rules
    assert broken.select("source", "days", "rows", "of_rows", "last_sample").rows() == [
        ("candles", 1, 2, 100, "of bars"),
        ("trades", 2, 4, 200, "new"),
    ]
    monkeypatch.setattr(completeness_evidence, "MAX_FINDINGS_OBJECTS", 1)
    report, _ = report_of(_span())
    assert report.left_out.findings_objects == 2
    assert report.broken_rules["last_sample"].to_list() == ["new"]


def test_batches_follow_the_key_and_their_size_changes_nothing(
    completeness_tables, report_of, monkeypatch
):
    make = completeness_tables.row
    completeness_tables.write(
        *(
            make(symbol, "failed" if offset % 3 else "present", day=_day(offset), venue=venue)
            for offset in range(12)
            for venue in ("binance", "upbit")
            for symbol in ("BTC-USDT", "ETH-USDT")
        )
    )
    span = _span(days=14, venues=("binance", "upbit"))
    report, rows = report_of(span)
    assert rows.equals(rows.sort(COMPLETENESS_TABLE.key))
    monkeypatch.setattr(completeness_reading, "_BATCH_ROWS", 1)
    monkeypatch.setattr(completeness_report, "MAX_RUNS", 2)
    small, same_rows = report_of(span)
    assert same_rows.equals(rows)
    assert small.counts.equals(report.counts)
    assert small.worst.equals(report.worst)
    assert small.runs.height == 2
    assert small.left_out.runs > 0


def test_a_broken_table_is_named(completeness_tables, report_of):
    completeness_tables.write(completeness_tables.row("BTC-USDT"))
    item = CompletenessFile(_day(1), VenueId.BINANCE)
    completeness_tables.lake.store.write(item.path, b"not Parquet")
    with pytest.raises(CorruptData, match=r"day-2024-08-09/venue-binance/completeness\.parquet"):
        report_of(_span())


def test_a_span_that_cannot_be_is_refused():
    with pytest.raises(InvalidInput, match="before --start-date"):
        _span(days=0)
    with pytest.raises(InvalidInput, match="none of the venues has them"):
        _span(venues=("upbit",), types=("options_chain",))


def test_csv_and_parquet_hold_the_rows_of_the_span(completeness_tables, report_of, tmp_path):
    make = completeness_tables.row
    partial = make("ETH-USDT", "partial", gaps=1, gap_us=1, longest_gap_start=NOON)
    completeness_tables.write(make("BTC-USDT", reason='a "quoted", reason'), partial)
    _, rows = report_of(_span())
    with RowsExport(tmp_path / "out") as export:
        export.write(rows)
        csv_path, parquet_path = export.finish()
    assert pl.read_parquet(parquet_path).equals(rows)
    with csv_path.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == COMPLETENESS_TABLE.names
    assert [row["reason"] for row in read] == rows["reason"].to_list()
    assert read[1]["longest_gap_start"] == "2024-08-08T12:00:00.000000Z"
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        csv_path.name,
        parquet_path.name,
    ]


def test_an_export_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "completeness.csv").write_text("old")

    with pytest.raises(KeyError), RowsExport(tmp_path):
        raise KeyError("lost")
    assert [file.name for file in tmp_path.iterdir()] == ["completeness.csv"]
    assert (tmp_path / "completeness.csv").read_text() == "old"
