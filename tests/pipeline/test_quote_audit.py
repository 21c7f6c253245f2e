"""Trades of stored files beside stored quotes: which files, how often, and what is kept."""

from __future__ import annotations

import dataclasses
import datetime as dt

import polars as pl
import pytest

from tickhandler_dagster.adapters.row_groups import TickFile
from tickhandler_dagster.checks.bar_outcomes import prices_outcome
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import FindingsFile, QuoteAuditFile, RawTickFile
from tickhandler_dagster.market.quality.policy import QualityPolicy, Verdict, parse_policy
from tickhandler_dagster.market.quality.quote_audit_table import QUOTE_AUDIT_TABLE
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.pipeline import quote_audit
from tickhandler_dagster.pipeline.bar_audit import audit_bars
from tickhandler_dagster.pipeline.quote_audit import QUOTES_BESIDE_TRADES, QuoteLook
from tickhandler_dagster.pipeline.tick_audits import read_findings

CALM = [(second, 100.0, 100.5) for second in range(60)]
INSIDE = [(second + 0.5, 100.0 + 0.5 * (second % 2), 1) for second in range(60)]
OUTSIDE = [(10.6, 101.5, 1), (20.6, 99.0, 1), (30.6, 101.1, 1)]


def put_trades(lab, rows=(*INSIDE, *OUTSIDE), **changes):
    lab.put(lab.one, DataType.TRADES, lab.trades(lab.one, *rows), **changes)


def put_quotes(lab, rows=CALM, data_type=DataType.QUOTES, **changes):
    quotes = lab.quotes(lab.one, *rows, data_type=data_type)
    lab.put(lab.one, data_type, quotes, **changes)


def look(lab, *keys):
    found = QuoteLook(lab.lake, VenueDay(lab.one, lab.venue))
    for key in keys or (lab.key,):
        found.look_at(key)
    found.store()
    return found


@pytest.fixture
def opened(monkeypatch):
    """Row groups read, by the columns that were asked for."""
    read = []
    kept = TickFile.read

    def watched(self, group):
        frame = kept(self, group)
        read.append(tuple(frame.columns))
        return frame

    monkeypatch.setattr(TickFile, "read", watched)
    return read


def test_planted_trades_are_found_exactly_and_the_rest_is_not(lab):
    put_trades(lab)
    put_quotes(lab)
    (finding,) = look(lab).findings
    assert (finding.rule, finding.source) == (RuleName.TRADE_OUTSIDE_QUOTES, "trades")
    assert (finding.instrument_key, finding.rows, finding.of_rows) == (lab.key, 3, 63)
    assert (finding.first_at, finding.last_at) == (lab.at(lab.one, 10.6), lab.at(lab.one, 30.6))
    assert finding.sample == (
        "quotes: "
        "00:00:10.600000: 101.5 beside bid 100.0, ask 100.5 (2.0 spreads past it); "
        "00:00:20.600000: 99.0 beside bid 100.0, ask 100.5 (2.0 spreads past it); "
        "00:00:30.600000: 101.1 beside bid 100.0, ask 100.5 (1.2 spreads past it)"
    )


def test_the_quotes_are_those_that_bars_take(lab):
    put_trades(lab)
    far = [(second, 200.0, 200.5) for second in range(60)]
    lab.put(lab.one, DataType.BOOK_SNAPSHOT_5, lab.book(lab.one, *((t, 100.25) for t, *_ in CALM)))
    assert [one.quotes_type for one in look(lab).audits] == [DataType.BOOK_SNAPSHOT_5]
    put_quotes(lab, far, DataType.BOOK_TICKER)
    assert look(lab).findings[0].rows == 63
    put_quotes(lab)
    (audit,) = look(lab).audits
    assert (audit.quotes_type, audit.outside_trades) == (DataType.QUOTES, 3)


def test_a_book_snapshot_serves_with_its_first_level(lab):
    put_trades(lab)
    lab.put(lab.one, DataType.BOOK_SNAPSHOT_25, lab.book(lab.one, (0, 100.5), (9, 100.5), depth=25))
    (audit,) = look(lab).audits
    # states of 0 s and 9 s, bid 100 and ask 101, hold for 5 s each
    assert (audit.judged_trades, audit.outside_trades) == (11, 0)


@pytest.mark.parametrize("state", [None, DataState.EMPTY, DataState.FAILED])
@pytest.mark.parametrize("missing", [DataType.TRADES, DataType.QUOTES])
def test_without_trades_or_without_quotes_nothing_is_judged(lab, missing, state, opened):
    put_quotes(lab) if missing is DataType.TRADES else put_trades(lab)
    if state is not None:
        lab.put(lab.one, missing, state)
    found = look(lab)
    assert (found.audits, found.findings, found.files_read) == ([], (), 0)
    assert opened == []


def test_a_file_that_is_gone_is_not_judged_and_what_was_known_of_it_stays(lab):
    put_trades(lab)
    put_quotes(lab)
    item = RawTickFile(lab.one, DataType.QUOTES, lab.key)
    kept = lab.lake.store.read(item.path)
    lab.lake.delete(item)
    assert look(lab).audits == []
    lab.lake.store.write(item.path, kept)
    known = look(lab).audits
    lab.lake.delete(item)
    assert look(lab).audits == known != []


def test_the_same_bytes_are_read_once(lab, opened):
    put_trades(lab)
    put_quotes(lab)
    first = look(lab)
    assert (first.files_read, len(opened)) == (2, 2)
    assert set(opened) == {
        ("timestamp", "local_timestamp", "price"),
        ("timestamp", "local_timestamp", "bid_price", "ask_price"),
    }
    again = look(lab)
    assert (again.files_read, len(opened)) == (0, 2)
    assert (again.audits, again.findings) == (first.audits, first.findings)


@pytest.mark.parametrize("change", ["trades", "quotes", "another type", "rules", "broken table"])
def test_other_bytes_and_other_rules_are_read_anew(lab, monkeypatch, change):
    put_trades(lab)
    put_quotes(lab, data_type=DataType.BOOK_TICKER)
    assert look(lab).findings[0].rows == 3
    if change == "trades":
        put_trades(lab, [*INSIDE, *OUTSIDE[:1]])
    if change == "quotes":
        put_quotes(lab, [(t, bid, ask + 0.5) for t, bid, ask in CALM], DataType.BOOK_TICKER)
    if change == "another type":
        put_quotes(lab)
    if change == "rules":
        monkeypatch.setattr(quote_audit, "QUOTE_RULES", "another")
    if change == "broken table":
        path = QuoteAuditFile(lab.one, lab.venue).path
        lab.lake.store.write(path, b"no table")
    found = look(lab)
    assert found.files_read == 2
    rows = {"trades": 1, "quotes": 0}.get(change, 3)
    assert sum(finding.rows for finding in found.findings) == rows
    assert look(lab).files_read == 0


def test_row_groups_do_not_matter(lab, monkeypatch):
    put_trades(lab)
    put_quotes(lab)
    whole = look(lab)
    for data_type in (DataType.TRADES, DataType.QUOTES):
        item = RawTickFile(lab.one, data_type, lab.key)
        path = lab.lake.store.root / item.path
        pl.read_parquet(path).write_parquet(path, row_group_size=7)
    lab.lake.delete(QuoteAuditFile(lab.one, lab.venue))
    found = look(lab)
    assert (found.files_read, found.audits) == (2, whole.audits)


def test_quotes_that_no_trade_asks_for_are_not_read(lab, opened):
    put_trades(lab, [(40.2, 100.0, 1)])
    put_quotes(lab)
    path = lab.lake.store.root / RawTickFile(lab.one, DataType.QUOTES, lab.key).path
    pl.read_parquet(path).write_parquet(path, row_group_size=1)
    (audit,) = look(lab).audits
    assert audit.judged_trades == 1
    groups = [columns for columns in opened if "bid_price" in columns]
    assert len(groups) == 6  # of 60: those of five seconds before the trade, and one behind it


def test_the_bar_audit_counts_them_and_takes_them_by_policy(lab):
    put_trades(lab)
    put_quotes(lab)
    lab.build()
    audit = audit_bars(VenueDay(lab.one, lab.venue), lake=lab.lake)
    assert (len(audit.quotes), audit.with_quotes, audit.judged_trades) == (1, 1, 63)
    cell = VenueDay(lab.one, lab.venue)
    assert read_findings(lab.lake, cell, QUOTES_BESIDE_TRADES) == list(audit.quotes)
    assert lab.lake.exists(FindingsFile(lab.one, lab.venue, "prices"))
    ignored = prices_outcome(audit, QualityPolicy())
    assert (ignored.has_passed, ignored.verdict) == (True, Verdict.IGNORE)
    assert ignored.metadata["trades outside quotes"].value == 3
    assert "trade_outside_quotes" in ignored.metadata["broken rules"].value
    strict = parse_policy([{"rules": "trade_outside_quotes", "verdict": "warning"}])
    taken = prices_outcome(audit, strict)
    assert (taken.has_passed, taken.verdict) == (False, Verdict.WARNING)


def test_a_second_audit_leaves_every_byte(lab, opened):
    put_trades(lab)
    put_quotes(lab)
    lab.build()
    cell = VenueDay(lab.one, lab.venue)
    first = audit_bars(cell, lake=lab.lake)
    store = lab.lake.store
    before = {
        path: store.read(path) for at in ("findings/", "quote_audits/") for path in store.list(at)
    }
    opened.clear()
    assert audit_bars(cell, lake=lab.lake) == first
    assert opened == []
    assert {path: store.read(path) for path in before} == before


def test_what_is_kept_obeys_its_table(lab):
    put_trades(lab)
    put_quotes(lab)
    other = "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
    put_trades(lab, INSIDE, key=other)
    put_quotes(lab, key=other)
    found = look(lab, lab.key, other)
    table = lab.lake.read_table(QuoteAuditFile(lab.one, lab.venue))
    assert SchemaCheck(QUOTE_AUDIT_TABLE).run([("quote_audits", table)]).has_passed
    assert table["outside_trades"].to_list() == [3, 0]
    assert dataclasses.asdict(found.audits[1])["sample"] is None


def recorded_frame(folder, data_type, day):
    """The vendor's file as a stored table, read by other means than ours."""
    schema = RAW_TABLES[data_type].stored.polars_schema
    file = folder / data_type.value / f"{day:%Y/%m/%d}" / "BTCUSDT.csv.gz"
    rows = pl.read_csv(file, schema_overrides={"id": pl.String})
    times = pl.from_epoch("timestamp", "us"), pl.from_epoch("local_timestamp", "us")
    rows = rows.with_columns(time.dt.replace_time_zone("UTC") for time in times)
    return rows.select(name for name in schema if name in rows.columns).match_to_schema(
        schema, missing_columns="insert"
    )


def outside_by_join(trades, quotes):
    """The rule as one join of two sorted tables; prices in cents, which are whole."""
    cents = [
        (pl.col(name) * 100).round().cast(pl.Int64).alias(short)
        for name, short in (("bid_price", "bid"), ("ask_price", "ask"))
    ]
    states = quotes.select("local_timestamp", *cents, at=pl.col("local_timestamp"))
    joined = trades.select(
        "local_timestamp", price=(pl.col("price") * 100).round().cast(pl.Int64)
    ).join_asof(states, on="local_timestamp", allow_exact_matches=False, tolerance="5s")
    judged = joined.filter(pl.col("bid") < pl.col("ask"))
    spread = pl.col("ask") - pl.col("bid")
    beyond = pl.max_horizontal(pl.col("price") - pl.col("ask"), pl.col("bid") - pl.col("price"))
    return judged.height, judged.filter(beyond > spread).height


@pytest.mark.parametrize(
    ("venue", "day", "counts"),
    [
        ("binance", 8, (9_757, 9_757, 3_863)),
        ("binance", 9, (10_147, 10_147, 3_183)),
        ("binance-futures", 8, (21_313, 21_313, 8_659)),
    ],
)
def test_of_recorded_trades_as_many_are_outside_as_one_join_finds(
    lab, recorded, venue, day, counts
):
    """A third and more: where the spread is one price step, an order of several fills is past it.

    Nearly all of them share moment and side with other fills; quotes tell of a move first or last.
    """
    frames = {
        data_type: recorded_frame(recorded / venue, data_type, dt.date(2024, 8, day))
        for data_type in (DataType.TRADES, DataType.BOOK_TICKER)
    }
    for data_type, frame in frames.items():
        lab.put(lab.one, data_type, frame)
    (audit,) = look(lab).audits
    assert (audit.judged_trades, audit.outside_trades) == outside_by_join(*frames.values())
    assert (audit.trades, audit.judged_trades, audit.outside_trades) == counts
