"""What every warehouse promises, asked of each: DuckDB in a folder, BigQuery over a bucket.

What belongs here: the Protocol. What only one warehouse has (locks, views, jobs, quotas) is in a
file of its own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickhandler_dagster.adapters.bigquery_warehouse import BigQueryWarehouse
from tickhandler_dagster.adapters.duckdb_warehouse import DuckDbWarehouse
from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.gcs_store import GcsObjectStore
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_cache import ObjectCache
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.warehouse import LoadedObject, TableDay
from tickhandler_dagster.market.errors import CorruptData, InvalidSetting
from tickhandler_dagster.market.paths import CandleFile
from tickhandler_dagster.market.tables import TIMESTAMP, Column, Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VENUES, VenueId
from tickhandler_dagster.market.warehouse_tables import WarehouseSource, WarehouseTable

DAY = dt.date(2024, 8, 8)
NEXT = dt.date(2024, 8, 9)
LATER = dt.date(2025, 1, 31)
BINANCE, DERIBIT = VenueId.BINANCE, VenueId.DERIBIT
BARS = 4

COLUMNS = (
    Column("instrument_key", pl.String(), "Canonical key."),
    Column("venue", pl.String(), "Tardis exchange id."),
    Column("ts_open", TIMESTAMP, "First moment of the bar.", unit="UTC"),
    Column("is_final", pl.Boolean(), "Nothing can change the bar."),
    Column("close", pl.Float64(), "Last price; it's a price.", unit="quote", is_nullable=True),
    Column("trade_count", pl.Int64(), "Trades.", is_nullable=True),
    Column("bar_version", pl.Int32(), "Version."),
    Column("side", pl.Int8(), "Direction.", is_nullable=True),
    Column("expiry", TIMESTAMP, "Time of expiry.", is_nullable=True),
    Column("listed_on", pl.Date(), "First day.", is_nullable=True),
    Column("source_sha256", pl.List(pl.String()), "Hashes."),
)


def bars_table(columns=COLUMNS):
    table = Table("bars", "one bar of one instrument", tuple(columns), key=("instrument_key",))
    return WarehouseTable(
        "bars_1m",
        table,
        WarehouseSource.CANDLES,
        Timeframe.M1,
        "ts_open",
        ("venue", "instrument_key"),
    )


BARS_1M = bars_table()


class Bench:
    """A warehouse beside a lake, and what a test does to both."""

    def __init__(self, lake, warehouse):
        self.lake, self.warehouse = lake, warehouse

    def store(self, frame, day, venue, *, symbol="BTCUSDT", columns=COLUMNS):
        """Put rows into the lake as the bars of an instrument, and say what a manifest would."""
        item = CandleFile(day, Timeframe.M1, f"{VENUES[venue].key_name}:SPOT_PAIR:{symbol}")
        stored = self.lake.write_table(item, frame, bars_table(columns).table)
        return LoadedObject(item.path, venue, frame.height, stored.bytes, stored.sha256)

    def bars(self, day, *venues, version=1, symbols=("BTCUSDT",)):
        return TableDay(
            day,
            tuple(
                self.store(bars_of(day, venue, symbol, version), day, venue, symbol=symbol)
                for venue in venues
                for symbol in symbols
            ),
        )

    def publish(self, *days, table=BARS_1M):
        self.warehouse.ensure(table)
        return self.warehouse.publish(table, days)

    def rows(self, name="bars_1m"):
        """What SQL gives, all of it, in one order."""
        answer = self.warehouse.query(
            f"SELECT * FROM {name} "  # noqa: S608  (a name of this file)
            "WHERE ts_open >= TIMESTAMP '2000-01-01 00:00:00+00' "
            "AND ts_open < TIMESTAMP '2100-01-01 00:00:00+00' "
            "ORDER BY ts_open, instrument_key"
        )
        return pl.from_arrow(answer)


def bars_of(day, venue, symbol="BTCUSDT", version=1):
    opens = dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)
    seed = hashlib.sha256(f"{day}{venue}{symbol}{version}".encode()).digest()
    bars = range(BARS)
    return pl.DataFrame(
        {
            "instrument_key": [f"{VENUES[venue].key_name}:SPOT_PAIR:{symbol}"] * BARS,
            "venue": [venue.value] * BARS,
            # the first and the last minute of the day, so that a shifted time zone shows
            "ts_open": [opens + dt.timedelta(minutes=1439 * bar // (BARS - 1)) for bar in bars],
            "is_final": [bar < BARS - 1 for bar in bars],
            "close": [None, *(float(byte) / 3 for byte in seed[1:BARS])],
            "trade_count": [2**53 + seed[0], *(int(byte) for byte in seed[1:BARS])],
            "bar_version": [version] * BARS,
            "side": [-1, None, 0, 1],
            "expiry": [None, *([opens + dt.timedelta(microseconds=1)] * (BARS - 1))],
            "listed_on": [day, None, day, day],
            "source_sha256": [[], ["a"], ["a", "it's"], [symbol]],
        },
        schema={column.name: column.dtype for column in COLUMNS},
    )


def expected(*parts):
    """Rows of (day, venue, symbol, version), in the order of `Bench.rows`."""
    frames = [bars_of(*part) for part in parts] or [bars_of(DAY, BINANCE).clear()]
    return pl.concat(frames).sort("ts_open", "instrument_key")


def duckdb_bench(request, folder):
    del request
    lake = Lake(LocalObjectStore(folder / "lake"))
    return Bench(lake, DuckDbWarehouse(folder / "warehouse", lake.store))


class BigQueryBench(Bench):
    """BigQuery knows one whole number; the test's narrower ones are asked for as they were."""

    def rows(self, name="bars_1m"):
        found = super().rows(name)
        narrow = {c.name: c.dtype for c in COLUMNS if c.dtype in (pl.Int8(), pl.Int32())}
        return found.with_columns(
            pl.col(column).cast(dtype)
            for column, dtype in narrow.items()
            if column in found.columns
        )


def bigquery_bench(request, folder):
    gcs, bigquery = (request.getfixturevalue(name) for name in ("gcs", "bigquery"))
    credentials = load_credentials(None, is_emulated=True)
    store = GcsObjectStore(
        gcs.bucket(),
        prefix="lake",
        credentials=credentials,
        cache=ObjectCache(folder / "cache", 10**9),
        endpoint=gcs.endpoint,
    )
    warehouse = BigQueryWarehouse(
        credentials,
        dataset=f"bench_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}",
        location="EU",
        lake_uri=store.uri,
        project="tests-project",
        endpoint=bigquery.endpoint,
    )
    return BigQueryBench(Lake(store), warehouse)


BENCHES = {"duckdb": duckdb_bench, "bigquery": bigquery_bench}


@pytest.fixture(params=BENCHES)
def bench(request, tmp_path):
    return BENCHES[request.param](request, tmp_path)


@pytest.fixture(params=BENCHES)
def make_bench(request, tmp_path_factory):
    return lambda: BENCHES[request.param](request, tmp_path_factory.mktemp("bench"))


def test_a_published_day_is_the_rows_of_its_objects_type_by_type(bench):
    receipt = bench.publish(bench.bars(DAY, BINANCE, DERIBIT))[0]
    assert bench.rows().equals(
        expected((DAY, BINANCE, "BTCUSDT"), (DAY, DERIBIT, "BTCUSDT")), null_equal=True
    )
    assert bench.rows().schema == BARS_1M.table.polars_schema
    assert (receipt.rows, receipt.is_new) == (2 * BARS, True)
    assert receipt.bytes > 0


def test_publishing_the_same_day_again_loads_nothing_and_changes_nothing(bench):
    day = bench.bars(DAY, BINANCE, DERIBIT)
    bench.publish(day)
    before = bench.rows()
    receipt = bench.publish(day)[0]
    assert (receipt.is_new, receipt.bytes, receipt.rows) == (False, 0, 2 * BARS)
    assert bench.rows().equals(before)


def test_days_published_one_by_one_are_the_days_published_together(make_bench):
    apart, together = make_bench(), make_bench()
    days = (DAY, NEXT, LATER)
    for day in days:
        apart.publish(apart.bars(day, BINANCE))
    receipts = together.publish(*(together.bars(day, BINANCE) for day in days))
    assert [receipt.day for receipt in receipts] == list(days)
    assert apart.rows().equals(together.rows())


def test_a_changed_day_is_replaced_and_the_others_stay(bench):
    bench.publish(bench.bars(DAY, BINANCE), bench.bars(NEXT, BINANCE))
    receipts = bench.publish(bench.bars(DAY, BINANCE, version=2), bench.bars(NEXT, BINANCE))
    assert [receipt.is_new for receipt in receipts] == [True, False]
    assert bench.rows().equals(
        expected((DAY, BINANCE, "BTCUSDT", 2), (NEXT, BINANCE, "BTCUSDT", 1))
    )


def test_a_day_that_comes_back_to_what_it_was_is_in_the_table_as_it_was(bench):
    for version in (1, 2, 1):
        assert bench.publish(bench.bars(DAY, BINANCE, version=version))[0].is_new
        assert bench.rows().equals(expected((DAY, BINANCE, "BTCUSDT", version)))


def test_a_venue_that_comes_later_joins_and_one_that_vanishes_leaves(bench):
    bench.publish(bench.bars(DAY, BINANCE))
    bench.publish(bench.bars(DAY, BINANCE, DERIBIT))
    assert set(bench.rows()["venue"]) == {"binance", "deribit"}
    bench.publish(bench.bars(DAY, DERIBIT))
    assert bench.rows().equals(expected((DAY, DERIBIT, "BTCUSDT")))


def test_a_day_without_objects_leaves_the_table_without_its_rows(bench):
    bench.publish(bench.bars(DAY, BINANCE), bench.bars(NEXT, BINANCE))
    receipt = bench.publish(TableDay(DAY, ()))[0]
    assert (receipt.rows, receipt.is_new, receipt.bytes) == (0, True, 0)
    assert bench.rows().equals(expected((NEXT, BINANCE, "BTCUSDT")))


def test_a_day_that_never_had_a_row_is_no_news(bench):
    receipt = bench.publish(TableDay(DAY, ()))[0]
    assert (receipt.rows, receipt.is_new) == (0, False)
    assert bench.rows().is_empty()


def test_a_table_that_was_only_made_answers_without_a_row(bench):
    bench.warehouse.ensure(BARS_1M)
    assert bench.rows().schema == BARS_1M.table.polars_schema
    assert bench.warehouse.counts(BARS_1M, [DAY]) == {}


def test_rows_are_counted_by_day_and_venue(bench):
    day = bench.bars(DAY, BINANCE, DERIBIT, symbols=("BTCUSDT", "ETHUSDT"))
    bench.publish(day, bench.bars(NEXT, DERIBIT))
    counts = bench.warehouse.counts(BARS_1M, [DAY, LATER])
    assert counts == {(DAY, BINANCE): 2 * BARS, (DAY, DERIBIT): 2 * BARS}
    assert {venue: rows for (_, venue), rows in counts.items()} == day.rows_by_venue


def test_the_final_view_has_final_rows_alone(bench):
    bench.publish(bench.bars(DAY, BINANCE))
    final = bench.rows("bars_1m_final")
    assert final.equals(expected((DAY, BINANCE, "BTCUSDT")).filter("is_final"))
    assert final.height == BARS - 1


def test_a_column_that_is_added_is_null_in_days_published_before(bench):
    bench.publish(bench.bars(DAY, BINANCE))
    more = (*COLUMNS, Column("spread", pl.Float64(), "Spread.", is_nullable=True))
    frame = bars_of(NEXT, BINANCE).with_columns(spread=pl.lit(0.25))
    day = TableDay(NEXT, (bench.store(frame, NEXT, BINANCE, columns=more),))
    bench.publish(day, table=bars_table(more))
    rows = bench.rows()
    assert rows.select("ts_open", "spread").rows() == [
        (moment, None if moment.date() == DAY else 0.25) for moment in rows["ts_open"]
    ]
    assert rows.drop("spread").equals(
        expected((DAY, BINANCE, "BTCUSDT"), (NEXT, BINANCE, "BTCUSDT"))
    )
    assert bench.rows("bars_1m_final").columns == rows.columns


def test_objects_without_a_column_that_the_table_has_are_null_there(bench):
    bench.warehouse.ensure(bars_table((*COLUMNS, Column("spread", pl.Float64(), "Spread."))))
    bench.warehouse.publish(BARS_1M, [bench.bars(DAY, BINANCE)])
    rows = bench.rows()
    assert rows["spread"].null_count() == BARS
    assert rows.drop("spread").equals(expected((DAY, BINANCE, "BTCUSDT")))


def test_a_column_that_a_table_no_longer_has_keeps_its_values(bench):
    bench.publish(bench.bars(DAY, BINANCE))
    fewer = tuple(column for column in COLUMNS if column.name != "side")
    frame = bars_of(NEXT, BINANCE).drop("side")
    day = TableDay(NEXT, (bench.store(frame, NEXT, BINANCE, columns=fewer),))
    bench.publish(day, table=bars_table(fewer))
    by_day = bench.rows().group_by(pl.col("ts_open").dt.date()).agg("side").sort("ts_open")
    assert by_day["side"].to_list() == [[-1, None, 0, 1], [None] * BARS]


def test_a_column_of_another_type_is_refused_and_nothing_is_lost(bench):
    bench.publish(bench.bars(DAY, BINANCE))
    before = bench.rows()
    changed = tuple(
        replace(column, dtype=pl.String()) if column.name == "close" else column
        for column in COLUMNS
    )
    with pytest.raises(InvalidSetting, match="close"):
        bench.warehouse.ensure(bars_table(changed))
    assert bench.rows().equals(before)


def test_rows_of_another_day_are_refused_and_the_table_stays(bench):
    bench.publish(bench.bars(DAY, BINANCE))
    before = bench.rows()
    stranger = TableDay(DAY, (bench.store(bars_of(NEXT, BINANCE), DAY, BINANCE, symbol="X"),))
    with pytest.raises(CorruptData):
        bench.warehouse.publish(BARS_1M, [stranger])
    assert bench.rows().equals(before)


def test_other_rows_than_the_manifest_says_are_an_error(bench):
    bench.warehouse.ensure(BARS_1M)
    day = bench.bars(DAY, BINANCE)
    lie = TableDay(DAY, (replace(day.objects[0], rows=BARS + 1),))
    with pytest.raises(CorruptData, match="rows"):
        bench.warehouse.publish(BARS_1M, [lie])


def test_a_question_that_is_no_sql_is_the_askers_mistake(bench):
    bench.publish(bench.bars(DAY, BINANCE))
    with pytest.raises(ValueError, match="Correct"):
        bench.warehouse.query("SELEC 1")


CELLS = st.dictionaries(
    st.sampled_from([BINANCE, DERIBIT, VenueId.BYBIT]), st.integers(1, 2), max_size=3
)
PUBLICATIONS = st.lists(
    st.dictionaries(st.sampled_from([DAY, NEXT, LATER]), CELLS, min_size=1, max_size=2),
    min_size=1,
    max_size=4,
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(publications=PUBLICATIONS)
def test_after_any_publications_each_day_is_what_was_published_last(make_bench, publications):
    bench, last = make_bench(), {}
    for publication in publications:
        days = []
        for day, venues in publication.items():
            parts = [bench.bars(day, venue, version=number) for venue, number in venues.items()]
            days.append(TableDay(day, tuple(item for part in parts for item in part.objects)))
        receipts = bench.publish(*days)
        for receipt, (day, venues) in zip(receipts, publication.items(), strict=True):
            assert receipt.is_new == (last.get(day, {}) != venues)
            assert receipt.rows == BARS * len(venues)
        last |= publication
    parts = [
        (day, venue, "BTCUSDT", number)
        for day, venues in last.items()
        for venue, number in venues.items()
    ]
    assert bench.rows().equals(expected(*parts))
