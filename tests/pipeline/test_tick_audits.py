"""The audit of a raw partition: one read per file, every kind of hole, and the bars over it."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.market.bars.status import BarStatus
from tickhandler_dagster.market.catalog import Incident
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.feature import Channel, Merge
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.paths import (
    FindingsFile,
    InstrumentsFile,
    MftFile,
    QuarantinedRows,
    RawTickFile,
    TickAuditFile,
)
from tickhandler_dagster.market.quality.gaps import GapKind
from tickhandler_dagster.market.quality.row_rules import quarantine_table
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.pipeline.mft_features import build_mft_features
from tickhandler_dagster.pipeline.mft_inputs import mft_plan
from tickhandler_dagster.pipeline.tick_audits import audit_raw_ticks, read_findings, read_gaps

TRADES, BOOK = DataType.TRADES, DataType.BOOK_SNAPSHOT_5
HOLE = (36_000.0, 36_600.0)  # ten minutes from ten o'clock


class Audits:
    """A venue in a lake, and the audits of its partitions."""

    def __init__(self, lab):
        self.lab = lab
        self.incidents = ()

    @property
    def catalog(self):
        return dataclasses.replace(self.lab.catalog, incidents=self.incidents)

    def run(self, data_type=TRADES, day=None, **changes):
        day = day or self.lab.one
        arguments = {
            "rows": list(self.lab.raw_rows.get((day, data_type), {}).values()),
            "universe": self.lab.universe,
            "catalog": self.catalog,
        } | changes
        return audit_raw_ticks(self.lab.lake, VenueDay(day, self.lab.venue), data_type, **arguments)

    def build(self, **options):
        return self.lab.build(catalog=self.catalog, **options)

    def stored(self):
        store = self.lab.lake.store
        return {path: store.read(path) for path in store.list("raw_tick_data/")} | {
            path: store.read(path) for path in store.list("findings/")
        }

    def trades(self, day=None, *, count=6_000, hole=None, start=1_000, until=86_390.0, seed=1):
        """Trades at random times, numbered without a hole before one is cut out."""
        chance = np.random.default_rng(seed)
        times = np.sort(chance.uniform(1, until, count))
        prices = 100 + np.cumsum(chance.choice([-0.1, 0, 0.1], count))
        rows = [
            (float(t), float(np.round(price, 1)), 1.0)
            for t, price in zip(times, prices, strict=True)
        ]
        frame = self.lab.trades(day or self.lab.one, *rows, start=start)
        return frame if hole is None else self.cut(frame, day or self.lab.one, hole)

    def cut(self, frame, day, hole):
        start, end = (self.lab.at(day, edge) for edge in hole)
        return frame.filter(~pl.col("timestamp").is_between(start, end, closed="left"))

    def book(self, *, hole=None, step=5.0):
        times = np.arange(1, 86_390, step)
        frame = self.lab.book(self.lab.one, *((float(t), 100 + int(t) % 3 * 0.1) for t in times))
        return frame if hole is None else self.cut(frame, self.lab.one, hole)


@pytest.fixture
def audits(lab):
    return Audits(lab)


def of_kind(result, kind):
    return [gap for gap in result.gaps if gap.kind is kind]


def rules_of(result):
    return {finding.rule: finding for finding in result.findings}


def test_a_file_is_read_once_and_a_second_run_says_and_writes_the_same(audits, lab):
    lab.put(lab.one, TRADES, audits.trades(hole=HOLE))
    first = audits.run()
    assert (first.files_read, first.rows_read) == (1, first.schema.rows)
    assert first.schema.has_passed
    before = audits.stored()
    second = audits.run()
    assert (second.files_read, second.rows_read) == (0, 0)
    assert dataclasses.replace(second, files_read=1, rows_read=first.rows_read) == first
    assert audits.stored() == before
    cell = VenueDay(lab.one, lab.venue)
    assert read_gaps(lab.lake, cell, TRADES) == list(first.gaps)
    assert read_findings(lab.lake, cell, "trades") == list(first.findings)


def test_only_the_file_that_changed_is_read_again(audits, lab):
    other = "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
    lab.listed.append(lab.instrument(instrument_key=other, tardis_symbol="ETHUSDT"))
    lab.put(lab.one, TRADES, audits.trades(hole=HOLE))
    lab.put(lab.one, TRADES, audits.trades(seed=2), key=other)
    assert audits.run().files_read == 2
    lab.put(lab.one, TRADES, audits.trades(seed=3, hole=HOLE), key=other)
    changed = audits.run()
    assert changed.files_read == 1
    assert {gap.instrument_key for gap in of_kind(changed, GapKind.LOST_IDS)} == {lab.key, other}
    lab.listed[1] |= {"tick_size": 0.25}
    assert audits.run().files_read == 1  # its prices are held against another step
    lab.raw_rows[lab.one, TRADES].pop(other)
    left = audits.run()
    assert [audit.instrument_key for audit in left.audits] == [lab.key]
    assert {gap.instrument_key for gap in left.gaps} == {lab.key}


def test_tables_that_cannot_be_read_are_made_anew(audits, lab):
    lab.put(lab.one, TRADES, audits.trades(hole=HOLE))
    audits.run()
    before = audits.stored()
    for item in (
        TickAuditFile(lab.one, TRADES, lab.venue),
        FindingsFile(lab.one, lab.venue, "trades"),
    ):
        lab.lake.store.write(item.path, b"not a table")
        assert audits.run().files_read == 1
        assert audits.stored() == before


def test_a_broken_rule_of_the_table_is_said_again_without_reading(audits, lab):
    frame = audits.trades(count=50).with_columns(amount=-pl.col("amount"))
    lab.put(lab.one, TRADES, frame)
    first = audits.run()
    (failure,) = first.schema.failures
    assert (failure.subject, failure.column, failure.rows) == (lab.key, "amount", 50)
    second = audits.run()
    assert second.files_read == 0
    assert second.schema == first.schema


def test_ten_lost_minutes_are_found_by_their_numbers(audits, lab):
    whole = audits.trades()
    lab.put(lab.one, TRADES, audits.cut(whole, lab.one, HOLE))
    result = audits.run()
    (gap,) = of_kind(result, GapKind.LOST_IDS)
    lost = whole.height - result.rows_read
    assert gap.lost_trades == lost == result.audits[0].lost_trades
    assert gap.gap_start <= lab.at(lab.one, HOLE[0])
    assert gap.gap_end >= lab.at(lab.one, HOLE[1])
    assert (gap.gap_end - gap.gap_start).total_seconds() < 600 + 240
    finding = rules_of(result)[RuleName.LOST_TRADE_IDS]
    assert (finding.rows, finding.first_at) == (lost, gap.gap_start)
    assert str(lost) in finding.sample


def test_a_single_number_lost_in_a_burst_is_counted_and_is_no_gap(audits, lab):
    rows = [(100 + number / 10, 100.0, 1.0) for number in range(50)]
    frame = lab.trades(lab.one, *rows)
    lab.put(lab.one, TRADES, frame.filter(pl.col("id") != "1020"))
    result = audits.run()
    assert not of_kind(result, GapKind.LOST_IDS)
    assert rules_of(result)[RuleName.LOST_TRADE_IDS].rows == 1


def test_ten_silent_minutes_of_a_book_are_found_by_its_rate(audits, lab):
    lab.put(lab.one, BOOK, audits.book(hole=HOLE))
    result = audits.run(BOOK)
    (gap,) = of_kind(result, GapKind.SILENCE)
    assert abs(gap.gap_start - lab.at(lab.one, HOLE[0])).total_seconds() <= 5
    assert abs(gap.gap_end - lab.at(lab.one, HOLE[1])).total_seconds() <= 5
    audit = result.audits[0]
    assert audit.longest_silence_us == pytest.approx(600_000_000, abs=5_000_000)
    assert audit.silence_start is not None
    assert audit.active_seconds == result.rows_read
    assert rules_of(result)[RuleName.SILENCE].rows == 1


def test_an_incident_covers_a_silence_and_uncovers_it_when_it_is_withdrawn(audits, lab):
    lab.put(lab.one, BOOK, audits.book(hole=HOLE))
    assert of_kind(audits.run(BOOK), GapKind.SILENCE)
    audits.incidents = (
        Incident(lab.at(lab.one, 35_990), lab.at(lab.one, 36_610), "resolved", "feed down"),
    )
    covered = audits.run(BOOK)
    assert covered.files_read == 0
    (gap,) = covered.gaps
    assert (gap.kind, gap.gap_start) == (GapKind.INCIDENT, lab.at(lab.one, 35_990))
    assert "feed down" in gap.evidence
    assert RuleName.SILENCE not in rules_of(covered)
    audits.incidents = ()
    again = audits.run(BOOK)
    assert again.files_read == 0
    assert of_kind(again, GapKind.SILENCE)


def test_a_lasting_incident_is_clipped_to_the_day_and_the_listing(audits, lab):
    lab.listed[0] |= {"available_to": lab.at(lab.one, 50_000)}
    lab.put(lab.one, BOOK, audits.book(hole=(40_000, 90_000)))
    audits.incidents = (Incident(lab.at(lab.one, 40_000), None, "open", ""),)
    (gap,) = audits.run(BOOK).gaps
    assert (gap.gap_start, gap.gap_end) == (lab.at(lab.one, 40_000), lab.at(lab.one, 50_000))


def test_silence_counts_from_the_listing_to_its_end_and_to_the_end_of_the_export(audits, lab):
    lab.put(lab.one, BOOK, audits.book(hole=(40_000, 90_000)))
    (gap,) = of_kind(audits.run(BOOK), GapKind.SILENCE)
    assert gap.gap_end == lab.at(lab.one, 86_400)
    lab.listed[0] |= {"expiry": lab.at(lab.one, 40_030)}
    assert not audits.run(BOOK).gaps
    lab.listed[0] |= {"expiry": None}
    cut = dataclasses.replace(audits.catalog, exported_until=lab.at(lab.one, 40_030))
    assert not audits.run(BOOK, catalog=cut).gaps
    lab.listed[0] |= {"available_to": lab.at(lab.two, 0)}
    assert not audits.run(BOOK).gaps


def test_the_hours_before_the_first_row_of_a_listing_are_no_silence(audits, lab):
    lab.put(lab.one, BOOK, audits.book(hole=(0, 40_000)))
    (gap,) = of_kind(audits.run(BOOK), GapKind.SILENCE)
    assert gap.gap_end == lab.at(lab.one, 40_001)
    lab.listed[0] |= {"available_from": lab.at(lab.one, 0)}
    assert not audits.run(BOOK).gaps


def test_a_silent_venue_is_told_for_each_of_its_instruments(audits, lab):
    keys = [lab.key]
    for name in ("ETH", "SOL", "XRP"):
        key = f"BINANCE-FUTURES:PERPETUAL:{name}-USDT"
        lab.listed.append(lab.instrument(instrument_key=key, tardis_symbol=f"{name}USDT"))
        keys.append(key)
    for seed, key in enumerate(keys):
        # none of them is often enough there for its own ten minutes to be long
        frame = audits.trades(count=2_500, seed=seed, hole=HOLE)
        lab.put(lab.one, TRADES, frame.with_columns(id=pl.lit(None, pl.String)), key=key)
    result = audits.run()
    assert not of_kind(result, GapKind.SILENCE)
    told = of_kind(result, GapKind.VENUE_SILENCE)
    assert [gap.instrument_key for gap in told] == sorted(keys)
    assert abs(told[0].gap_start - lab.at(lab.one, HOLE[0])).total_seconds() < 60
    assert abs(told[0].gap_end - lab.at(lab.one, HOLE[1])).total_seconds() < 60
    assert sum(one.rule is RuleName.VENUE_SILENCE for one in result.findings) == len(keys)


@pytest.mark.parametrize("later_first", [False, True])
def test_a_hole_over_midnight_is_found_whichever_day_is_audited_last(audits, lab, later_first):
    days = (lab.one, lab.two)
    first = audits.trades(count=3_000, until=86_000.0)
    second = audits.trades(lab.two, count=3_000, seed=5, start=1_000 + 3_000 + 77)
    for day, frame in zip(days, (first, second), strict=True):
        lab.put(day, TRADES, frame)
    results = {day: audits.run(day=day) for day in (reversed(days) if later_first else days)}
    last = results[days[0] if later_first else days[1]]
    (gap,) = of_kind(last, GapKind.LOST_IDS)
    assert gap.gap_start == first["timestamp"][-1] + dt.timedelta(microseconds=1)
    assert gap.gap_end == second["timestamp"][0]
    assert gap.lost_trades == (None if later_first else 77)
    again = audits.run(day=days[1])
    assert again.files_read == 0
    assert sum(gap.lost_trades for gap in of_kind(again, GapKind.LOST_IDS)) == 77
    assert rules_of(again)[RuleName.LOST_TRADE_IDS].rows == 77
    audits.build()
    tail = lab.bars().filter(pl.col("ts_open") > first["timestamp"][-1])
    assert set(tail["status"]) == {BarStatus.VENDOR_GAP.value}


def test_rows_that_are_nowhere_are_told(audits, lab):
    frame = audits.trades(count=100)
    lab.put(lab.one, TRADES, frame, source_rows=103, quarantined_rows=3)
    missing = rules_of(audits.run())[RuleName.ROWS_NOT_CONSERVED]
    assert (missing.rows, missing.of_rows) == (3, 103)
    kept_out = pl.DataFrame(
        schema=quarantine_table(RAW_TABLES[TRADES]).polars_schema,
        data=[["not_positive", "BTCUSDT", *row] for row in frame.head(3).rows()],
        orient="row",
    )
    item = QuarantinedRows(lab.one, TRADES, lab.key)
    lab.lake.write_table(item, kept_out, quarantine_table(RAW_TABLES[TRADES]))
    assert RuleName.ROWS_NOT_CONSERVED not in rules_of(audits.run())
    lab.lake.store.write(item.path, b"not a table")
    assert rules_of(audits.run())[RuleName.ROWS_NOT_CONSERVED].rows == 3
    lab.put(lab.one, TRADES, frame, source_rows=101)
    assert rules_of(audits.run())[RuleName.ROWS_NOT_CONSERVED].rows == 1


def test_a_file_that_was_deleted_by_hand_is_missed(audits, lab):
    lab.put(lab.one, TRADES, audits.trades(count=100))
    assert not audits.run().findings
    lab.lake.delete(RawTickFile(lab.one, TRADES, lab.key))
    result = audits.run()
    assert result.files_read == 1
    assert rules_of(result)[RuleName.ROWS_NOT_CONSERVED].rows == 100


# ---- bars ---------------------------------------------------------------------------------------


def touched(lab, bars):
    start, end = (lab.at(lab.one, edge) for edge in HOLE)
    return bars.filter((pl.col("ts_open") < end) & (pl.col("ts_close") > start))


def test_bars_in_a_hole_are_vendor_gaps_and_change_exactly_when_the_gaps_do(audits, lab):
    lab.put(lab.one, TRADES, audits.trades(hole=HOLE))
    audits.build()
    before = lab.bars()
    assert set(touched(lab, before)["gap_ms"]) == {0.0}
    result = audits.run()
    assert audits.build().built == 1
    after = lab.bars()
    inside = touched(lab, after).slice(1, 38)
    assert set(inside["status"]) == {BarStatus.VENDOR_GAP.value}
    assert set(inside["gap_ms"]) == {15_000.0}
    assert set(inside["coverage"]) == {0.0}
    (gap,) = of_kind(result, GapKind.LOST_IDS)
    length_ms = (gap.gap_end - gap.gap_start) / dt.timedelta(milliseconds=1)
    assert lab.day_bar()["gap_ms"] == pytest.approx(length_ms)
    clear = (pl.col("ts_close") < gap.gap_start) | (pl.col("ts_open") > gap.gap_end)
    assert after.filter(clear).equals(before.filter(clear))
    written = lab.written()
    assert audits.build().is_no_op
    audits.run()
    assert audits.build().is_no_op
    assert lab.written() == written
    lab.put(lab.one, TRADES, audits.trades())
    audits.run()
    assert audits.build().built == 1
    assert lab.day_bar()["gap_ms"] == 0


@pytest.mark.parametrize("has_quotes", [False, True])
def test_a_hole_in_the_book_takes_the_books_features_and_leaves_those_of_trades(
    audits, lab, has_quotes
):
    lab.put(lab.one, TRADES, audits.trades())
    lab.put(lab.one, BOOK, audits.book(hole=HOLE))
    if has_quotes:
        rows = [(float(t), 100.0, 100.2) for t in range(1, 86_390, 5)]
        lab.put(lab.one, DataType.QUOTES, lab.quotes(lab.one, *rows))
    audits.build()
    before = lab.bars()
    audits.run(BOOK)
    assert audits.build().built == 1
    after = lab.bars()
    inside = touched(lab, after)
    lost = {Channel.LEVELS} if has_quotes else {Channel.LEVELS, Channel.TOP}
    for feature in FEATURES.values():
        if feature.merge is Merge.DERIVED:
            continue
        if lost & set(feature.inputs):
            assert inside[feature.name].is_null().all(), feature.name
        elif feature.inputs == (Channel.TRADES,):
            assert after[feature.name].equals(before[feature.name]), feature.name
    assert inside["spread_tw_bps"].is_null().all() is not has_quotes
    assert set(after["gap_ms"]) == {0.0}
    assert inside["close"].null_count() < inside.height
    outside = after.join(inside, on="ts_open", how="anti")
    assert outside["spread_tw_bps"].null_count() < outside.height


def test_features_over_a_hole_are_null(audits, lab):
    plan = mft_plan(Windows(), first_day=lab.one)
    cell = VenueDay(lab.one, lab.venue)
    lab.lake.write_table(InstrumentsFile(lab.one, lab.venue), lab.universe, INSTRUMENTS_TABLE)
    lab.put(lab.one, TRADES, audits.trades(hole=HOLE))
    lab.put(lab.two, TRADES, audits.trades(lab.two, seed=9, start=10_000_000))
    audits.run()
    audits.build(timeframes=(Timeframe.M5,))
    build_mft_features(cell, lake=lab.lake, plan=plan, timeframes=(Timeframe.M5,))
    rows = lab.lake.read_table(MftFile(lab.one, Timeframe.M5, lab.key))
    inside = touched(lab, rows)
    assert inside.height >= 2
    before = rows.filter(pl.col("ts_open") < inside["ts_open"][0])
    for name in ("log_return_1", "price_momentum_3", "price_velocity"):
        assert inside[name].is_null().all(), name
        assert before[name][-6:-1].is_not_null().all(), name
    after = rows.filter(pl.col("ts_open") > inside["ts_open"][-1])
    assert after["price_volatility_10"][:10].is_null().all()
    assert after["price_volatility_10"][12:].is_not_null().all()
