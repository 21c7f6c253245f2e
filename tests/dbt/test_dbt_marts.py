"""Marts in DuckDB: their numbers against other arithmetic, days made again, broken identities."""

# ruff: noqa: S608  (tables cannot be parameters; the names are the tests' own)

from __future__ import annotations

import datetime as dt
import json
import shutil

import duckdb
import polars as pl
import pytest
from doubles.bigquery.server import BigQueryStandIn
from doubles.bigquery.small import PROJECT, warehouse
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from polars.testing import assert_frame_equal

DAYS = tuple(dt.date(2024, 8, day) for day in (8, 9, 10))
KEY = ["venue", "instrument_key"]
MARTS = (
    "daily_bars",
    "venue_share",
    "completeness_days",
    "funding_history",
    "basis_history",
    "liquidation_days",
    "spread_depth_days",
    "instrument_history",
)
MISSING = {
    "not_exported_yet",
    "no_entitlement",
    "incident",
    "failed",
    "quarantined",
    "not_ingested",
}


def with_terms(sim, frame, *names):
    terms = sim.rows("instruments").select("date", *KEY, *names)
    return frame.join(terms, on=["date", *KEY], how="left")


def final_bars(sim, name):
    return sim.rows(name).filter("is_final").with_columns(date=pl.col("ts_open").dt.date())


def daily_bars(sim):
    bars = final_bars(sim, "candles_24h")
    return with_terms(sim, bars, "instrument_type", "base_asset", "quote_asset")


def venue_share(sim):
    bars = daily_bars(sim).filter(pl.col("instrument_type") != "OPTION")
    grain = ["date", "base_asset", "instrument_type", "venue"]
    volume = pl.col("volume")
    return (
        bars.group_by(grain)
        .agg(instruments=pl.len(), volume=volume.sum(), trade_count=pl.col("trade_count").sum())
        .with_columns(
            share_of_type=volume / volume.sum().over(grain[:3]),
            share_of_base=volume / volume.sum().over(grain[:2]),
        )
    )


def completeness_days(sim):
    state = pl.col("state")
    return (
        sim.rows("completeness")
        .group_by("date", "venue", "data_type")
        .agg(
            instruments=pl.len(),
            complete=state.is_in(["present", "empty"]).sum(),
            partial=(state == "partial").sum(),
            missing=state.is_in(list(MISSING)).sum(),
            not_listed=(state == "not_listed").sum(),
            row_count=pl.col("rows").sum(),
            gap_hours=pl.col("gap_us").sum() / 3_600_000_000,
            lost_trades=pl.when(pl.col("lost_trades").count() > 0).then(
                pl.col("lost_trades").sum()
            ),
        )
    )


def funding_history(sim):
    found = []
    bars = final_bars(sim, "candles_1h").sort("ts_open")
    for key, own in bars.partition_by(KEY, as_dict=True).items():
        known = None
        for bar in own.iter_rows(named=True):
            named = bar["next_funding_time"]
            if named is not None:
                if known is not None and named > known:
                    found.append((*key, known.date(), known, bar["funding_settled"], named))
                known = named
    names = [*KEY, "date", "funding_time", "funding_settled", "next_funding_time"]
    return pl.DataFrame(found, schema=names, orient="row")


def basis_history(sim):
    bars = with_terms(
        sim, final_bars(sim, "candles_1h"), "instrument_type", "base_asset", "quote_asset"
    )
    pair = ["date", "base_asset", "quote_asset"]
    spot = bars.filter(pl.col("instrument_type") == "SPOT_PAIR")
    largest = (
        spot.group_by(*pair, "instrument_key")
        .agg(pl.col("volume").sum())
        .sort("volume", descending=True)
        .unique(pair, keep="first", maintain_order=True)
        .select(*pair, spot_key="instrument_key")
    )
    closes = spot.select("ts_open", spot_key="instrument_key", spot_close="close")
    return (
        bars.filter(pl.col("instrument_type").is_in(["PERPETUAL", "FUTURE"]))
        .join(largest, on=pair, how="left")
        .join(closes, on=["ts_open", "spot_key"], how="left", coalesce=True)
        .with_columns(
            basis_to_index=pl.col("mark_price") / pl.col("index_price") - 1,
            basis_to_spot=pl.col("close") / pl.col("spot_close") - 1,
        )
        .drop("spot_key", "available_at")  # a key without a bar of that hour is null in the mart
    )


def liquidation_days(sim):
    minutes = final_bars(sim, "candles_1m").filter(pl.col("liquidation_count").is_not_null())
    total = pl.sum_horizontal(f"liquidation_{side}_volume" for side in ("buy", "sell", "unknown"))
    money = {
        name: pl.col("liquidation_notional").mul(pl.col(f"liquidation_{side}_volume") / total)
        for name, side in (("long", "sell"), ("short", "buy"), ("unknown", "unknown"))
    }
    return minutes.group_by("date", *KEY).agg(
        pl.col("liquidation_count").sum(),
        pl.col("liquidation_notional", "notional").sum(),
        *(share.fill_nan(0).sum().alias(f"{name}_notional") for name, share in money.items()),
        minutes=pl.len(),
        largest_volume=pl.col("liquidation_size_max").max(),
        is_throttled=pl.col("liquidation_is_throttled").any(),
    )


def spread_depth_days(sim):
    minutes = final_bars(sim, "candles_1m").filter(pl.col("quote_normal_us") > 0)
    weight = pl.col("quote_normal_us")
    days = minutes.group_by("date", *KEY).agg(
        pl.col("^(bid|ask)_depth_.*$").mean(),
        minutes=pl.len(),
        spread_bps=((pl.col("spread_bps_us") / weight) * weight).sum() / weight.sum(),
        normal_share=weight.sum() / 86_400_000_000,
        cost_10k_bps=pl.mean_horizontal("buy_cost_10k_bps", "sell_cost_10k_bps").mean(),
        minutes_with_25bps=pl.all_horizontal(
            pl.col("bid_depth_25bps", "ask_depth_25bps").is_not_null()
        ).sum(),
        book_levels_seen=pl.col("book_levels_seen").min(),
    )
    group = ["date", "instrument_type", "base_asset"]
    return with_terms(sim, days, *group[1:]).with_columns(
        spread_rank=pl.col("spread_bps").rank("min").over(group)
    )


def instrument_history(sim):
    found = []
    rows = sim.rows("instruments").sort("date")
    for (venue,), own in rows.partition_by("venue", as_dict=True).items():
        days = own["date"].unique().sort().to_list()
        for (key,), listed in own.partition_by("instrument_key", as_dict=True).items():
            ticks = dict(listed.select("date", "tick_size").iter_rows())
            start = None
            for day, after in zip(days, [*days[1:], None], strict=True):
                if day in ticks:
                    start = start or day
                    if after is None or ticks.get(after) != ticks[day]:
                        found.append((venue, key, start, after, ticks[day], after is None))
                        start = None
    names = [*KEY, "valid_from", "valid_to", "tick_size", "is_current"]
    return pl.DataFrame(found, schema=names, orient="row")


ORACLES = {
    make.__name__: make
    for make in (
        daily_bars,
        venue_share,
        completeness_days,
        funding_history,
        basis_history,
        liquidation_days,
        spread_depth_days,
        instrument_history,
    )
}


class Story:
    """One warehouse, its marts, and what the runs over them said."""

    def __init__(self, folder, make_warehouse, make_dbt):
        self.sim = make_warehouse(folder)
        self.sim.fill()
        self.dbt = make_dbt(folder, self.sim.folder)
        self.statuses = self.dbt("build")
        self.manifest = json.loads((self.dbt.target_path() / "manifest.json").read_text())

    def mart(self, name):
        with duckdb.connect(self.sim.folder / "marts.duckdb", read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return pl.from_arrow(connection.execute(f"SELECT * FROM {name} ORDER BY ALL").arrow())

    def grain(self, name):
        return self.manifest["nodes"][f"model.tickhandler.{name}"]["config"]["meta"]["grain"]

    def expect(self, name, mart=None):
        """The mart is what the oracle says, in all columns that both have."""
        mart = self.mart(name) if mart is None else mart
        grain, expected = self.grain(name), ORACLES[name](self.sim)
        shared = [column for column in mart.columns if column in expected.columns]
        grain = [column for column in grain if column in shared] + (
            ["valid_from"] if "valid_from" in shared else []
        )
        assert mart.height > 0
        assert_frame_equal(
            mart.select(shared).sort(grain),
            expected.select(shared).sort(grain),
            check_dtypes=False,
            rel_tol=1e-9,
        )


@pytest.fixture(scope="module")
def story(tmp_path_factory, make_warehouse, make_dbt):
    return Story(tmp_path_factory.mktemp("dbt"), make_warehouse, make_dbt)


def test_everything_is_built_and_every_test_passes(story):
    assert set(story.statuses.values()) <= {"success", "pass", "no-op"}, story.dbt.finished.stdout
    assert set(MARTS) <= set(story.statuses)


@pytest.mark.parametrize("mart", MARTS)
def test_a_mart_has_the_numbers_of_other_arithmetic(story, mart):
    story.expect(mart)


def test_every_column_of_a_mart_is_described_and_a_mart_says_what_a_row_is(story):
    for name in MARTS:
        node = story.manifest["nodes"][f"model.tickhandler.{name}"]
        described = {column["name"]: column["description"] for column in node["columns"].values()}
        assert list(described) == story.mart(name).columns
        assert all(described.values()), name
        assert node["contract"]["enforced"]
        assert len(node["description"]) > 50


@pytest.fixture
def stand_in(story):
    """BigQuery's stand-in with every table published from the same lake."""
    server = BigQueryStandIn(story.sim.lake_root.parent).start()
    store = warehouse(server.endpoint, f"gs://{story.sim.lake_root.name}")
    story.sim.publish_to(store)
    # The stand-in has no CREATE SCHEMA.
    client = bigquery.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": server.endpoint},
    )
    for name in ("market_marts", "market_marts_staging"):
        dataset = bigquery.Dataset(f"{PROJECT}.{name}")
        dataset.location = "EU"
        client.create_dataset(dataset)
    yield server.endpoint, store
    client.close()
    server.stop()


def test_bigquery_gives_the_same_rows(story, stand_in, tmp_path, make_dbt):
    endpoint, store = stand_in
    dbt = make_dbt(
        tmp_path,
        story.sim.folder,
        BIGQUERY_ENDPOINT=endpoint,
        GCP_PROJECT_ID=PROJECT,
        BIGQUERY_DATASET="market",
    )
    statuses = dbt("run", days=DAYS, target="bq_offline")
    assert set(statuses.values()) == {"success"}, dbt.finished.stdout
    for name in MARTS:
        found = store.query(f"SELECT * FROM `{PROJECT}`.market_marts.{name}")
        story.expect(name, pl.DataFrame(pl.from_arrow(found)))


def plant(connection):
    """Break every identity of every mart at least once, and leave nothing of a key."""
    for mart in MARTS:
        connection.execute(f"INSERT INTO {mart} SELECT * FROM {mart} ORDER BY ALL LIMIT 1")
        connection.execute(f"INSERT INTO {mart} (venue) VALUES (NULL)")
    for statement in PLANTED:
        changed = connection.execute(statement).fetchone()[0]
        assert changed > 0, statement


PLANTED = (
    "UPDATE daily_bars SET high = low - 1 WHERE venue = 'okex'",
    "UPDATE daily_bars SET price_vwap = high * 2 WHERE venue = 'binance'",
    "UPDATE daily_bars SET buy_volume_sum = buy_volume_sum + 1 WHERE venue = 'okex'",
    "UPDATE daily_bars SET trade_count = 0 WHERE venue = 'okex'",
    "UPDATE daily_bars SET status = 'odd' WHERE venue = 'okex'",
    "UPDATE daily_bars SET instrument_key = 'nowhere' WHERE venue = 'okex'",
    "UPDATE completeness_days SET complete = complete + 1 WHERE venue = 'okex'",
    "UPDATE completeness_days SET gap_hours = -1 WHERE venue = 'okex'",
    "UPDATE completeness_days SET venue = 'nowhere' WHERE venue = 'okex'",
    "UPDATE funding_history SET available_at = funding_time - INTERVAL 1 DAY",
    "UPDATE funding_history SET funding_interval_h = NULL WHERE date = '2024-08-08'",
    "UPDATE funding_history SET funding_interval_h = 5 WHERE date = '2024-08-09'",
    "UPDATE funding_history SET next_funding_time = funding_time WHERE date = '2024-08-10'",
    "UPDATE basis_history SET spot_close = NULL WHERE basis_to_spot IS NOT NULL",
    "UPDATE basis_history SET mark_price = -1 WHERE venue = 'deribit'",
    "UPDATE basis_history SET available_at = ts_open",
    "UPDATE liquidation_days SET long_notional = -1, largest_volume = 1e12",
    "UPDATE liquidation_days SET liquidation_count = 0, minutes = 2000",
    "UPDATE spread_depth_days SET spread_bps = 0, normal_share = 2, minutes = 0",
    "UPDATE spread_depth_days SET minutes_with_25bps = minutes_with_5bps, bid_depth_25bps = 0",
    "UPDATE spread_depth_days SET cost_100k_bps = 0",
    "UPDATE instrument_history SET valid_to = valid_from WHERE venue = 'deribit'",
    "UPDATE instrument_history SET valid_to = NULL WHERE venue = 'binance'",
    "UPDATE instrument_history SET is_current = NOT is_current, days_listed = 0",
)


def test_a_broken_identity_fails_its_test(story, tmp_path, make_dbt):
    folder = tmp_path / "warehouse"
    folder.mkdir()
    for name in ("warehouse.duckdb", "marts.duckdb"):
        shutil.copy(story.sim.folder / name, folder)
    with duckdb.connect(folder / "marts.duckdb") as connection:
        plant(connection)
    statuses = make_dbt(tmp_path, folder)("test", "--select", "test_type:data")
    assert len(statuses) > 80
    assert {name for name, status in statuses.items() if status != "fail"} == set()


def test_a_run_again_gives_the_same_and_a_changed_day_what_the_day_is_now(story):
    before = {name: story.mart(name) for name in MARTS}
    statuses = story.dbt("run", days=DAYS)
    assert set(statuses.values()) == {"success"}
    for name in MARTS:
        assert story.mart(name).equals(before[name], null_equal=True), name

    story.sim.fill([DAYS[1]], without=("okex",))
    assert set(story.dbt("build", days=[DAYS[1]]).values()) <= {"success", "pass", "no-op"}
    for name in MARTS:
        story.expect(name)
    gone = story.mart("daily_bars").filter(pl.col("venue") == "okex", pl.col("date") == DAYS[1])
    assert gone.height == 0
    other_days = pl.col("date") != DAYS[1]
    for name in ("daily_bars", "liquidation_days", "spread_depth_days"):
        assert story.mart(name).filter(other_days).equals(before[name].filter(other_days)), name
