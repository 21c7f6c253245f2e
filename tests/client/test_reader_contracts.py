"""Instruments, universes, completeness, surfaces and the earlier names, by the reader."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import polars as pl
import pytest

from tickhandler_dagster.client import (
    CandleDataReader,
    DataClient,
    HFTFeaturesReader,
    MarketData,
    MFTFeaturesReader,
    QueryHandler,
    TickDataReader,
    open_market_data,
)
from tickhandler_dagster.market.completeness_table import (
    COMPLETENESS_TABLE,
    Completeness,
    completeness_frame,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidInput, MissingUpstream, NotAvailable
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.mft_manifest_table import MFT_MANIFEST_TABLE
from tickhandler_dagster.market.mft_table import mft_table
from tickhandler_dagster.market.options_surface_manifest_table import (
    OPTIONS_SURFACE_MANIFEST_TABLE,
)
from tickhandler_dagster.market.options_surface_table import OPTIONS_SURFACE_TABLE
from tickhandler_dagster.market.paths import (
    CompletenessFile,
    MftFile,
    MftManifest,
    OptionsSurfaceFile,
    OptionsSurfaceManifest,
)
from tickhandler_dagster.market.quality.policy import Verdict
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

DAY = dt.timedelta(days=1)
CALL = "DERIBIT:OPTION:BTC-USD-240830-60000-CALL"
PUT = "DERIBIT:OPTION:ETH-USD-240927-3000-PUT"


def option(lab, key):
    _, _, symbol = key.split(":")
    base, quote, day, strike, right = symbol.split("-")
    expiry = dt.datetime.strptime(day, "%y%m%d").replace(hour=8, tzinfo=dt.UTC)
    return lab.instrument(
        key,
        expiry=expiry,
        strike=float(strike),
        option_type=right,
        underlying=f"{base}-{quote}",
        available_to=expiry,
    )


@pytest.fixture
def options(lab):
    lab.put_universe(lab.one, option(lab, CALL), option(lab, PUT))
    return lab


@pytest.mark.parametrize(
    ("attributes", "keys"),
    [
        ({"type": "OPTION"}, {CALL, PUT}),
        ({"venue": "deribit", "type": "option", "underlying": "BTC"}, {CALL}),
        ({"underlying": ["BTC-USD", "ETH"]}, {CALL, PUT}),
        ({"expiry": dt.date(2024, 8, 30)}, {CALL}),
        ({"expiry": ("2024-09-01", "2024-10-01")}, {PUT}),
        ({"strike": (50_000, 60_000)}, {CALL}),
        ({"strike": 3000}, {PUT}),
        ({"option_type": "put", "is_inverse": False}, {PUT}),
        ({"venue": "deribit", "base": "SOL"}, set()),
    ],
)
def test_instruments_are_chosen_by_their_attributes(options, attributes, keys):
    found = options.data.instruments(options.one, options.two, **attributes).collect()
    assert set(found["instrument_key"]) == keys


def test_a_universe_knows_no_end_that_nobody_knew_and_no_listing_of_later(lab):
    noon = lab.at(lab.one, 43_200)
    gone, new, dead = (f"BINANCE:SPOT_PAIR:{name}-USDT" for name in ("GONE", "NEW", "DEAD"))
    lab.put_universe(
        lab.one,
        lab.instrument(lab.btc),
        lab.instrument(gone, available_to=lab.at(lab.one, 80_000)),
        lab.instrument(new, available_from=lab.at(lab.one, 50_000)),
        lab.instrument(dead, available_to=lab.at(lab.one, 40_000)),
    )
    found = lab.data.universe(noon).collect()
    assert found["instrument_key"].to_list() == [lab.btc, gone]
    assert found["available_to"].null_count() == 2
    later = lab.data.universe(lab.at(lab.one, 60_000)).collect()
    assert new in later["instrument_key"].to_list()
    assert lab.data.universe(noon).plan().files == 1


def test_a_universe_that_was_never_made_is_named(lab):
    with pytest.raises(MissingUpstream, match=r"instruments: not in the lake: 2024-08-08\|"):
        lab.data.universe(lab.at(lab.one), venue="binance").collect()
    with pytest.raises(MissingUpstream):
        lab.data.instruments(lab.one, lab.two).collect()


def test_completeness_is_read_by_days(lab, put_completeness):
    put_completeness(lab)
    assert lab.data.completeness(lab.one, lab.two, venue="binance").collect().height == 1
    with pytest.raises(MissingUpstream, match="completeness"):
        lab.data.completeness(lab.one, lab.two + DAY, venue="binance").collect()


@pytest.fixture
def put_completeness():
    def put(lab):
        row = Completeness(
            date=lab.one,
            venue=lab.venue,
            data_type=DataType.TRADES,
            instrument_key=lab.btc,
            instrument_type="SPOT_PAIR",
            state=DataState.PRESENT,
            reason="",
            verdict=Verdict.IGNORE,
            is_simulated=True,
        )
        lab.lake.write_table(
            CompletenessFile(lab.one, lab.venue), completeness_frame([row]), COMPLETENESS_TABLE
        )

    return put


# ---- features and surfaces -----------------------------------------------------------------


def default_row(schema):
    plain = {pl.String(): "", pl.Int64(): 0, pl.Boolean(): False, pl.Int32(): 1}
    return {name: plain.get(dtype) for name, dtype in schema.items()}


def put_mft(lab, timeframe=Timeframe.H1):
    table = mft_table(Windows())
    bars = lab.bars(lab.one, timeframe=timeframe)
    features = [name for name in table.names if name not in bars.columns]
    frame = bars.with_columns(
        pl.lit(1, pl.Int32()).alias("row_version"),
        *(
            pl.lit(0.5).cast(table.column(name).dtype).alias(name)
            for name in features
            if name != "row_version"
        ),
    )
    lab.lake.write_table(MftFile(lab.one, timeframe, lab.btc), frame, table)
    schema = MFT_MANIFEST_TABLE.polars_schema
    row = default_row(schema) | {
        "date": lab.one,
        "venue": "binance",
        "timeframe": timeframe.value,
        "instrument_key": lab.btc,
        "halo_missing": [],
    }
    lab.lake.write_table(
        MftManifest(lab.one, timeframe, lab.venue),
        pl.DataFrame([row], schema=schema),
        MFT_MANIFEST_TABLE,
    )
    return [name for name in features if name != "row_version"]


def test_features_of_both_kinds_are_read_by_name(lab):
    names = put_mft(lab)
    found = lab.data.features(lab.btc, "1h", lab.one, lab.two, names=names[:2], source="mft")
    assert found.collect().columns[-2:] == names[:2]
    assert found.collect().height == 24
    everything = lab.data.features(lab.btc, "1h", lab.one, lab.two, source="mft").collect()
    assert set(names) <= set(everything.columns)
    lab.put_bars(lab.one)
    hft = lab.data.features(lab.btc, "1m", lab.one, lab.two).collect()
    assert set(FEATURES) <= set(hft.columns)
    with pytest.raises(MissingUpstream, match="mft_sets/mine"):
        lab.data.features(lab.btc, "1h", lab.one, lab.two, source="mine").collect()


def put_surface(lab):
    table, timeframe = OPTIONS_SURFACE_TABLE, Timeframe.H1
    start = lab.at(lab.one)
    rows = [
        dict.fromkeys(table.names)
        | {
            "venue": "deribit",
            "underlying": "BTC-USD",
            "timeframe": "1h",
            "ts_open": start + number * dt.timedelta(hours=1),
            "ts_close": start + (number + 1) * dt.timedelta(hours=1),
            "available_at": start + (number + 1) * dt.timedelta(hours=1, milliseconds=1),
            "kernel_version": "1",
            "option_count": 3,
            "expiry_count": 1,
        }
        for number in range(24)
    ]
    item = OptionsSurfaceFile(lab.one, timeframe, VenueId.DERIBIT, "BTC-USD")
    frame = pl.DataFrame(rows, schema=table.polars_schema)
    nullable = [
        pl.col(column.name).fill_null(0)
        for column in table.columns
        if not column.is_nullable and column.dtype.is_numeric()
    ]
    lab.lake.write_table(item, frame.with_columns(nullable), table)
    schema = OPTIONS_SURFACE_MANIFEST_TABLE.polars_schema
    row = default_row(schema) | {
        "date": lab.one,
        "venue": "deribit",
        "timeframe": "1h",
        "underlying": "BTC-USD",
    }
    lab.lake.write_table(
        OptionsSurfaceManifest(lab.one, VenueId.DERIBIT),
        pl.DataFrame([row], schema=schema),
        OPTIONS_SURFACE_MANIFEST_TABLE,
    )


def test_a_surface_is_read_as_of_a_moment_or_refused(lab):
    put_surface(lab)
    question = ("btc", "1h", lab.at(lab.one, 3_600), lab.two)
    assert lab.data.option_surface(*question).collect().height == 23
    assert lab.data.option_surface(*question).plan().rows == 24
    noon = lab.at(lab.one, 43_200)
    with pytest.raises(NotAvailable, match="written after"):
        lab.data.option_surface(*question, as_of=noon).collect()
    kept = lab.data.option_surface(*question, as_of=noon, on_revised="keep").collect()
    assert kept["available_at"].max() <= noon
    for underlying, end, said in (
        ("SOL", lab.two, "no such underlying"),
        ("BTC", lab.two + DAY, "2024-08-09"),
    ):
        with pytest.raises(MissingUpstream, match=said):
            lab.data.option_surface(underlying, "1h", lab.one, end).collect()


# ---- earlier names -------------------------------------------------------------------------


def test_the_earlier_readers_include_both_ends_and_give_the_same_rows(lab):
    for day in (lab.one, lab.two):
        lab.put_universe(day, lab.instrument(lab.btc))
        lab.put_bars(day)
    client = DataClient(str(lab.root), config=None)
    reader = CandleDataReader(client)
    both = reader.get_candles(
        instrument_id=lab.btc, timeframe="1m", start_date=lab.one, end_date=lab.two
    )
    assert both.height == 2880
    assert both["ts_open"].is_sorted()
    one = reader.get_candles(lab.btc, "1m", lab.at(lab.one), lab.at(lab.one, 60))
    assert one.height == 2
    assert reader.get_candles_for_timeframe(lab.btc, "1m", lab.one).height == 1440
    assert reader.get_multiple_timeframes(lab.btc, ["1m"], lab.one, lab.one)["1m"].height == 1440
    assert reader.get_available_timeframes(lab.btc, lab.one) == ["1m"]
    assert reader.get_candle_summary(lab.btc, lab.one) == {"1m": 1440}
    assert client.get_instrument_definitions(lab.one, lab.two).height == 2
    features = HFTFeaturesReader(client)
    assert features.get_hft_features_for_date(lab.btc, "1m", lab.one).height == 1440
    assert features.get_available_hft_features() == list(FEATURES)
    summary = features.get_hft_feature_summary(lab.btc, "1m", lab.one)
    assert (summary["close"], summary["micro_price"]) == (1, 0)
    with pytest.raises(InvalidInput, match="not one of this reader's"):
        features.get_hft_features(lab.btc, "1h", lab.one, lab.one)


def test_the_earlier_readers_of_ticks_and_slow_features(lab, put_completeness):
    put_mft(lab)
    put_completeness(lab)
    client = DataClient(lab.data)
    found = MFTFeaturesReader(client).get_mft_features_for_date(lab.btc, "1h", lab.one)
    assert found.height == 24
    slow = MFTFeaturesReader(client)
    names = slow.get_available_mft_features()
    summary = slow.get_mft_feature_summary(lab.btc, "1h", lab.one)
    assert names
    assert set(summary) == set(names)
    assert client.check_data_availability(lab.one, lab.one, venue="binance").height == 1
    lab.put_universe(lab.one, lab.instrument(lab.btc))
    lab.put_ticks(lab.one, lab.trades(lab.one, range(3_600, 7_201, 600)))
    reader = TickDataReader(client)
    span = (lab.at(lab.one, 3_600), lab.at(lab.one, 7_200))
    ticks = reader.get_tick_data(lab.btc, *span)
    assert ticks.height == 7
    assert ticks["data_type"].unique().to_list() == ["trades"]
    chunks = list(reader.get_tick_data_streaming(lab.btc, *span, chunk_size=3))
    assert [chunk.height for chunk in chunks] == [3, 3, 1]
    times = [lab.at(lab.one, 4_200), lab.at(lab.one, 6_600)]
    near = reader.get_sparse_candles(lab.btc, times, buffer_minutes=1)
    assert [frame["timestamp"].to_list() for frame in near.values()] == [[time] for time in times]
    assert reader.get_available_instruments(lab.one) == [lab.btc]
    question = ([lab.btc], lab.one, lab.one)
    paths = client.get_tick_data(*question, data_types=["trades"])
    assert paths == [f"raw_tick_data/by_date/day-2024-08-08/data_type-trades/{lab.btc}.parquet"]
    assert QueryHandler(lab.data).get_tick_data_paths(*question, ["trades"]) == paths
    assert client.read_parquet_file(paths[0]).height == 7
    with pytest.raises(MissingUpstream, match=r"nothing\.parquet: not in the lake"):
        client.read_parquet_file("nothing.parquet")
    with pytest.raises(InvalidInput, match="more than one call takes"):
        client.get_tick_data(*question, max_instruments_per_query=0)
    assert reader.get_tick_data_optimized(lab.btc, *span).equals(ticks)
    assert reader.get_data_summary(lab.btc, lab.one) == {"trades": 7}
    ((first, last, start, end),) = reader.get_sparse_data_ranges(lab.btc, lab.one)["trades"]
    local = ticks["local_timestamp"]
    assert (first, last) == (local[0], local[-1])
    assert 0 < start < end < (lab.root / paths[0]).stat().st_size


# ---- opening -------------------------------------------------------------------------------


def test_a_lake_in_a_bucket_is_read_by_ranges(gcs, lab, tmp_path):
    bucket = gcs.bucket()
    lab.put_universe(lab.one, lab.instrument(lab.btc))
    lab.put_bars(lab.one)
    lab.put_ticks(lab.one, lab.trades(lab.one, range(0, 86_400, 2)))
    far = open_market_data(f"gs://{bucket}/lake", endpoint=gcs.endpoint, cache=tmp_path / "cache")
    for file in lab.root.rglob("*.parquet"):
        far._lake.store.write(file.relative_to(lab.root).as_posix(), file.read_bytes())
    span = (lab.at(lab.one, 3_600), lab.at(lab.one, 7_200))
    near = lab.data.ticks(lab.btc, *span).collect()
    assert far.ticks(lab.btc, *span).collect().equals(near)
    assert far.candles(lab.btc, "1m", *span).collect().height == 60
    recent = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    with pytest.raises(NotAvailable):
        far.ticks(lab.btc, *span, as_of=recent).collect()


def test_places_that_are_none_are_refused(tmp_path):
    for place, said in (("s3://x", "not a place"), (tmp_path / "none", "no such folder")):
        with pytest.raises(InvalidInput, match=said):
            open_market_data(place)
    assert isinstance(open_market_data(tmp_path), MarketData)


def test_importing_the_reader_loads_no_dagster_no_settings_and_nothing_slow():
    code = (
        "import sys, tickhandler_dagster.client\n"
        "slow = ('dagster', 'pydantic_settings', 'duckdb', 'pandas', 'aiohttp', 'obstore')\n"
        "print([name for name in sys.modules if name.split('.')[0].startswith(slow)])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
