"""`kline_conformance` end to end: clean days conform wholly, planted faults are explained."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import urllib.request
from contextlib import contextmanager

import dagster as dg
import polars as pl
import pytest
from pydantic import AnyHttpUrl

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, day_start_us
from tickhandler_dagster.market.paths import CandleFile, FindingsFile, KlineDifferencesFile
from tickhandler_dagster.market.quality.findings import findings_of
from tickhandler_dagster.market.quality.policy import parse_policy
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.folder_source import FolderSource
from tickhandler_dagster.sandbox.kline_faults import KlineFault, KlineFaultRule
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.sandbox.simulator import Simulator

VENUES = ("binance", "binance-futures", "binance-delivery")
BEFORE, DAY, AFTER = "2024-08-06", "2024-08-07", "2024-08-08"
ASSET = "kline_conformance"
NOON = dt.datetime(2024, 8, 7, 12, tzinfo=dt.UTC)
BTC = "BINANCE:SPOT_PAIR:BTC-USDT"


class Holed:
    """The simulator, its files of trades of one symbol without a span of time."""

    def __init__(self, simulator, symbol, start, end):
        self._simulator = simulator
        self._symbol = symbol
        self._span = [int(moment.timestamp() * 1_000_000) for moment in (start, end)]

    def __getattr__(self, name):
        return getattr(self._simulator, name)

    def dataset(self, exchange, data_type, day, symbol):
        body = self._simulator.dataset(exchange, data_type, day, symbol)
        if data_type != DataType.TRADES or symbol != self._symbol:
            return body
        header, *lines = gzip.decompress(body).decode().splitlines(keepends=True)
        kept = [
            line for line in lines if not self._span[0] <= int(line.split(",")[2]) < self._span[1]
        ]
        return gzip.compress("".join([header, *kept]).encode(), mtime=0)


@pytest.fixture(scope="module")
def opened(open_platform):
    """A platform whose klines come from a server of their own; gives (platform, kline server)."""

    @contextmanager
    def open_it(root, source, venues, *, klines=None, klines_source="venue", **more):
        with SandboxServer(klines or source) as server:
            settings = {
                "klines_source": klines_source,
                "klines_endpoint": AnyHttpUrl(server.klines_url),
                **more,
            }
            with open_platform(root, source, venues, more_settings=settings) as (platform, _):
                yield platform, server

    return open_it


def build(platform, venue, *days, bars=(DAY,)):
    """Trades of the days and 1m candles of some of them."""
    platform.prepare(venue, *(f"{day}|{venue}" for day in days))
    for day in days:
        result = platform.run("raw_ticks/trades", partition=f"{day}|{venue}")
        assert result.success, platform.failures(result)
    for day in bars:
        result = platform.run("candles/1m", partition=f"{day}|{venue}")
        assert result.success, platform.failures(result)


def compare(platform, venue, day=DAY):
    """(result, metadata of its materialization)."""
    result = platform.run(ASSET, partition=f"{day}|{venue}")
    assert result.success, platform.failures(result)
    (event,) = result.get_asset_materialization_events()
    return result, {name: one.value for name, one in event.materialization.metadata.items()}


def conforms(result):
    (check,) = result.get_asset_check_evaluations()
    assert check.check_name == "conforms"
    return check


def differences(platform, venue, day=DAY):
    cell = VenueDay.parse(f"{day}|{venue}")
    return platform.lake.read_table(KlineDifferencesFile(cell.date, cell.venue))


def findings(platform, venue, day=DAY):
    cell = VenueDay.parse(f"{day}|{venue}")
    return findings_of(platform.lake.read_table(FindingsFile(cell.date, cell.venue, "klines")))


@pytest.fixture(scope="module")
def stages(opened, tmp_path_factory):
    """(platform, kline server, (passed, rate, causes) by venue while the neighbours are not in)."""
    simulator = Simulator(7, scale=0.05)
    with opened(tmp_path_factory.mktemp("klines"), simulator, VENUES) as (platform, server):
        alone = {}
        for venue in VENUES:
            build(platform, venue, DAY)
            result, metadata = compare(platform, venue)
            causes = differences(platform, venue)["cause"].to_list()
            alone[venue] = (conforms(result).passed, metadata["conformance rate"], causes)
            build(platform, venue, BEFORE, AFTER)
        yield platform, server, alone


@pytest.fixture
def clean(stages):
    """(platform, kline server) with the days before and after in."""
    return stages[:2]


@pytest.fixture(autouse=True)
def _heal(request):
    yield
    if "stages" in request.fixturenames:
        request.getfixturevalue("stages")[1].kline_faults.clear()


@pytest.mark.parametrize(("venue", "instruments"), [*zip(VENUES, (4, 7, 5), strict=True)])
def test_a_clean_day_with_its_neighbours_conforms_wholly(clean, venue, instruments):
    platform, _ = clean
    result, metadata = compare(platform, venue)
    assert metadata["conformance rate"] == 1.0
    assert metadata["minutes compared"] == instruments * 1_440
    assert metadata["requests"] == instruments * 2
    assert metadata["dagster/partition_row_count"] == 0
    assert metadata["conformance by instrument"].count("| 1.000000 | 1,440 | 0 |") == instruments
    assert "Simulated" in metadata["source"]
    assert conforms(result).passed
    assert findings(platform, venue) == []
    # both sides traded: agreement is not that of empty days
    bars = platform.bars(DAY, Timeframe.M1, f"{venue.upper()}:*")
    assert bars.filter(pl.col("trade_count") > 0).height > 300


def test_running_again_writes_the_same_bytes(clean):
    platform, _ = clean
    compare(platform, "binance")
    before = platform.bytes()
    compare(platform, "binance")
    assert platform.bytes() == before


def test_a_429_is_waited_for(clean):
    platform, server = clean
    server.kline_faults.add(KlineFaultRule(KlineFault.RATE_LIMITED, times=1))
    _, metadata = compare(platform, "binance")
    assert (metadata["conformance rate"], metadata["requests"]) == (1.0, 9)


def test_a_revised_and_a_missing_minute_are_found_told_and_heal(clean):
    platform, server = clean
    bars = platform.bars(DAY, Timeframe.M1, BTC).filter(pl.col("trade_count") > 0)
    revised, missing = bars["ts_open"][10], bars["ts_open"][200]
    plan = server.kline_faults
    plan.add(KlineFaultRule(KlineFault.REVISED_MINUTE, symbol="BTCUSDT", at=revised))
    plan.add(KlineFaultRule(KlineFault.MISSING_MINUTE, symbol="BTCUSDT", at=missing))
    result, metadata = compare(platform, "binance")
    found = differences(platform, "binance")
    assert found.select("instrument_key", "ts_open", "cause").rows() == [
        (BTC, revised, "revised"),
        (BTC, missing, "missing_there"),
    ]
    assert found["fields"][0].to_list() == ["high", "volume", "amount"]
    assert metadata["conformance rate"] == 1 - 2 / (4 * 1_440)
    assert "| revised | 1 |" in metadata["differences by cause"]
    check = conforms(result)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"{revised:%H:%M} revised: high " in check.metadata["findings"].value
    rules = {finding.rule.value: finding.rows for finding in findings(platform, "binance")}
    assert rules == {"kline_missing": 1, "kline_price_differs": 1, "kline_volume_differs": 1}
    plan.clear()
    result, metadata = compare(platform, "binance")
    assert (metadata["conformance rate"], conforms(result).passed) == (1.0, True)


def test_a_range_of_days_in_one_run_has_a_materialization_for_each(clean):
    platform, _ = clean
    venue = "binance"
    for day in (BEFORE, AFTER):
        assert platform.run("candles/1m", partition=f"{day}|{venue}").success
    result = platform.run(ASSET, span=(f"{BEFORE}|{venue}", f"{AFTER}|{venue}"))
    assert result.success, platform.failures(result)
    done = platform.instance.get_materialized_partitions(dg.AssetKey(ASSET))
    assert {f"{day}|{venue}" for day in (BEFORE, DAY, AFTER)} <= done
    # files of the days beyond were never taken: what differs at the edges is provisional
    outer = [differences(platform, venue, day) for day in (BEFORE, AFTER)]
    assert set(pl.concat(outer)["cause"].to_list()) <= {"late"}


def test_only_venues_with_klines_have_cells(opened, tmp_path):
    simulator = Simulator(7, scale=0.02)
    with opened(tmp_path, simulator, ("binance", "upbit")) as (platform, _):
        node = platform._repository.asset_graph.get(dg.AssetKey(ASSET))
        keys = {key.split("|")[1] for key in node.partitions_def.get_partition_keys()}
        assert keys == {"binance"}
        build(platform, "binance", DAY)
        compare(platform, "binance")


def test_a_grid_without_such_a_venue_has_no_such_asset(opened, tmp_path):
    with opened(tmp_path, Simulator(7, scale=0.02), ("upbit",)) as (platform, _):
        keys = platform._repository.asset_graph.get_all_asset_keys()
        assert dg.AssetKey(ASSET) not in keys


@pytest.mark.parametrize("venue", VENUES)
def test_edges_are_late_until_the_neighbours_are_in(stages, venue):
    has_passed, rate, causes = stages[2][venue]
    assert set(causes) == {"late"}
    assert 0.99 < rate < 1
    assert has_passed  # the bars say themselves that they are provisional
    assert compare(stages[0], venue)[1]["conformance rate"] == 1.0


def test_a_hole_in_the_vendors_file_is_lost(opened, tmp_path):
    simulator = Simulator(7, scale=0.3)
    holed = Holed(simulator, "BTCUSDT", NOON, NOON + dt.timedelta(minutes=10))
    with opened(tmp_path, holed, ("binance",), klines=simulator) as (platform, _):
        build(platform, "binance", BEFORE, DAY, AFTER)
        result, _ = compare(platform, "binance")
        found = differences(platform, "binance")
        assert found["instrument_key"].unique().to_list() == [BTC]
        assert set(found["cause"].to_list()) == {"lost"}
        minutes = {(at - NOON) // dt.timedelta(minutes=1) for at in found["ts_open"]}
        assert minutes <= set(range(10))
        assert len(minutes) >= 5
        check = conforms(result)
        assert not check.passed
        assert "lost: open None against" in check.metadata["findings"].value


def test_the_policy_makes_it_an_error_or_nothing(opened, tmp_path):
    simulator = Simulator(7, scale=0.02)
    policy = parse_policy(
        [
            {"rules": "kline_price_differs", "venues": "binance", "verdict": "error"},
            {"rules": "kline_volume_differs", "verdict": "ignore"},
        ]
    )
    settings = {"quality_policy": policy}
    with opened(tmp_path, simulator, ("binance",), **settings) as (platform, server):
        build(platform, "binance", BEFORE, DAY, AFTER)
        bars = platform.bars(DAY, Timeframe.M1, BTC).filter(pl.col("trade_count") > 0)
        at = bars["ts_open"][5]
        server.kline_faults.add(KlineFaultRule(KlineFault.REVISED_MINUTE, symbol="BTCUSDT", at=at))
        check = conforms(compare(platform, "binance")[0])
        assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
        assert check.metadata["broken rules"].value == 1
        assert "kline_volume_differs" not in check.metadata["findings"].value


def test_while_off_a_run_says_what_to_set(opened, tmp_path):
    with opened(tmp_path, Simulator(7, scale=0.02), ("binance",), klines_source="off") as (
        platform,
        server,
    ):
        build(platform, "binance", DAY)
        result = platform.run(ASSET, partition=f"{DAY}|binance")
        assert not result.success
        (failure,) = platform.failures(result)
        assert failure.startswith("KLINES_SOURCE: off")
        assert "expected venue, or the path" in failure
        assert server.requests == ()
        asked = platform._repository.get_job("validate").asset_layer.selected_asset_keys
        assert dg.AssetKey(ASSET) not in asked


def test_without_candles_it_says_what_to_run(opened, tmp_path):
    with opened(tmp_path, Simulator(7, scale=0.02), ("binance",)) as (platform, _):
        result = platform.run(ASSET, partition=f"{DAY}|binance")
        (failure,) = platform.failures(result)
        asked = platform._repository.get_job("validate").asset_layer.selected_asset_keys
        assert dg.AssetKey(ASSET) in asked
        assert f"--select candles/1m --partition '{DAY}|binance'" in failure


def _dump(server, folder, path, symbol, day):
    """The day's klines as a file of the venue's public dump: no header, milliseconds."""
    start, rows = day_start_us(dt.date.fromisoformat(day)) // 1_000, []
    for first, count in ((0, 1_000), (1_000, 440)):
        query = (
            f"symbol={symbol}&interval=1m&limit={count}&startTime={start + first * 60_000}"
            f"&endTime={start + (first + count) * 60_000 - 1}"
        )
        with urllib.request.urlopen(f"{server.klines_url}{path}?{query}", timeout=60) as reply:  # noqa: S310  (loopback)
            rows += json.loads(reply.read())
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    (folder / f"{symbol}-1m-{day}.csv").write_text(text)


def test_files_in_a_folder_serve_as_well_and_the_others_are_named(opened, tmp_path):
    simulator, folder = Simulator(7, scale=0.02), tmp_path / "dumps"
    with SandboxServer(simulator) as server:
        _dump(server, folder / "binance-delivery", "/dapi/v1/klines", "BTCUSD_PERP", DAY)
    venue = "binance-delivery"
    with opened(tmp_path, simulator, (venue,), klines_source=str(folder)) as (platform, server):
        build(platform, venue, BEFORE, DAY, AFTER)
        _, metadata = compare(platform, venue)
        assert metadata["conformance rate"] == 1.0
        assert (metadata["minutes compared"], metadata["requests"]) == (1_440, 0)
        assert "no klines of ETHUSD_PERP" in metadata["without klines"]
        assert server.requests == ()


# ---- recorded ----------------------------------------------------------------------------------


def test_recorded_bars_are_what_plain_python_adds_up_from_the_recorded_file(
    opened, tmp_path, recorded
):
    """Both spot days; the second day's bars are against the klines of the same two files."""
    days = ("2024-08-08", "2024-08-09")
    with opened(tmp_path, FolderSource(recorded), ("binance",)) as (platform, _):
        build(platform, "binance", *days, bars=days)
        for day in days:
            _, metadata = compare(platform, "binance", day)
            found = differences(platform, "binance", day)
            assert set(found["cause"].to_list()) <= {"late"}, found
            bars = platform.lake.read_table(
                CandleFile(dt.date.fromisoformat(day), Timeframe.M1, BTC)
            )
            assert bars["trade_count"].sum() > 0
            assert metadata["minutes compared"] == bars.height == 1_440
            assert VenueId.BINANCE in bars["venue"].to_list()
            assert metadata["conformance rate"] == 1.0
