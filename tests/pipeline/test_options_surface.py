"""From raw chains to surface files: midnight, no-ops, kills, what is missing and what is chosen."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import math

import numpy as np
import polars as pl
import pytest

from tickhandler_dagster.adapters.manifests import write_raw_manifest
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay, day_start_us
from tickhandler_dagster.market.errors import CorruptData, MissingUpstream
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.options.black76 import OptionState, delta, premium
from tickhandler_dagster.market.paths import (
    OptionsSurfaceFile,
    OptionsSurfaceManifest,
    RawTickFile,
)
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline import options_surface, surface_build
from tickhandler_dagster.pipeline.options_surface import (
    build_options_surface,
    surface_digest,
    surface_for,
)
from tickhandler_dagster.pipeline.surface_verification import verify_options_surface

CHAIN = RAW_TABLES[DataType.OPTIONS_CHAIN].stored
DAY = dt.date(2024, 8, 8)
BEFORE = DAY - dt.timedelta(days=1)
START = day_start_us(DAY)
MINUTE = 60_000_000
US_PER_DAY = 86_400_000_000
FOREVER = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SIGMA, FORWARD = 0.6, 60_000.0
DAYS = (4, 25, 50, 95)
STRIKES = [FORWARD * math.exp((number - 7) * 0.06) for number in range(15)]
EVERY_2_MINUTES = np.arange(30_000_000, US_PER_DAY, 2 * MINUTE, dtype=np.int64)


class Market:
    """Writes raw chains of a flat smile and their universe, and builds surfaces of them."""

    def __init__(self, lake, venue=VenueId.DERIBIT, underlying="BTC-USD", settle="BTC"):
        self.lake, self.cell = lake, VenueDay(DAY, venue)
        self.underlying, self.settle = underlying, settle
        self.base = underlying.partition("-")[0]
        self.points = 100.0 if venue is VenueId.DERIBIT else 1.0
        self.options = [
            (days, strike, right)
            for days in DAYS
            for strike in STRIKES
            for right in ("CALL", "PUT")
        ]
        self.states = {}

    def key(self, option):
        days, strike, right = option
        name = f"{self.underlying}-{days:03d}-{strike:.0f}-{right}"
        return f"{self.cell.venue.value.upper()}:OPTION:{name}"

    def expiry(self, option):
        return START + option[0] * US_PER_DAY + 8 * 60 * MINUTE

    @property
    def universe(self):
        rows = [
            {
                "date": DAY,
                "instrument_key": self.key(option),
                "venue": self.cell.venue.value,
                "instrument_type": "OPTION",
                "symbol": self.key(option),
                "tardis_symbol": self.key(option),
                "exchange_raw_symbol": self.key(option),
                "available_from": FOREVER,
                "available_to": None,
                "data_types": ["trades", "options_chain"],
                "base_asset": self.base,
                "quote_asset": self.underlying.partition("-")[2],
                "settle_asset": self.settle,
                "is_inverse": False,
                "is_quanto": False,
                "amount_unit": "base",
                "contract_size": 1.0,
                "tick_size": None,
                "amount_step": None,
                "min_size": None,
                "expiry": EPOCH + dt.timedelta(microseconds=self.expiry(option)),
                "strike": option[1],
                "option_type": option[2],
                "underlying": self.underlying,
                "terms_source": "venue_rule",
                "is_simulated": False,
            }
            for option in self.options
        ]
        return pl.DataFrame(rows, schema=INSTRUMENTS_TABLE.polars_schema)

    def rows(self, option, arrivals, sigma=SIGMA):
        count = len(arrivals)
        state = OptionState(
            np.full(count, FORWARD),
            np.full(count, option[1]),
            (self.expiry(option) - arrivals) / (365 * US_PER_DAY),
            np.full(count, option[2] == "CALL"),
        )
        volatility = np.full(count, sigma)
        unit = FORWARD if self.settle == self.base else 1.0
        cells = {
            "timestamp": pl.Series(arrivals - 5_000).cast(TIMESTAMP),
            "local_timestamp": pl.Series(arrivals).cast(TIMESTAMP),
            "type": pl.Series([option[2].lower()] * count, dtype=pl.String),
            "strike_price": np.full(count, option[1]),
            "expiration": pl.Series(np.full(count, self.expiry(option))).cast(TIMESTAMP),
            "open_interest": np.full(count, 3.0),
            "mark_price": premium(state, volatility) / unit,
            "mark_iv": volatility * self.points,
            "underlying_price": np.full(count, FORWARD),
            "delta": delta(state, volatility),
        }
        return pl.DataFrame(
            {name: cells.get(name, pl.Series([None] * count)) for name in CHAIN.names},
            schema=CHAIN.polars_schema,
        )

    def ingest(self, date=DAY, arrivals=EVERY_2_MINUTES, sigma=SIGMA):
        """Raw files and manifest of a day; `states` says which options have none."""
        start = day_start_us(date)
        rows = []
        for option in self.options:
            key = self.key(option)
            state = self.states.get(key, DataState.PRESENT)
            row = ManifestRow(
                date=date,
                venue=self.cell.venue,
                data_type=DataType.OPTIONS_CHAIN,
                instrument_key=key,
                tardis_symbol=key,
                source_symbol="OPTIONS",
                state=state,
                kernel_version="1",
                is_simulated=False,
            )
            if state is DataState.PRESENT:
                frame = self.rows(option, start + arrivals, sigma)
                stored = self.lake.write_table(
                    RawTickFile(date, DataType.OPTIONS_CHAIN, key), frame, CHAIN
                )
                row = dataclasses.replace(
                    row, rows=frame.height, bytes=stored.bytes, content_sha256=stored.sha256
                )
            rows.append(row)
        write_raw_manifest(self.lake, VenueDay(date, self.cell.venue), DataType.OPTIONS_CHAIN, rows)

    def build(self, **options):
        return build_options_surface(self.cell, lake=self.lake, universe=self.universe, **options)

    def surface(self, timeframe=Timeframe.S15):
        item = OptionsSurfaceFile(DAY, timeframe, self.cell.venue, self.underlying)
        return self.lake.read_table(item)

    def bytes(self):
        store = self.lake.store
        return {
            path: hashlib.sha256(store.read(path)).hexdigest()
            for path in store.list("options_surface/")
        }


@pytest.fixture
def market(lake):
    return Market(lake)


def test_a_flat_chain_is_a_flat_surface_at_every_timeframe(market):
    market.ingest()
    result = market.build()
    assert (result.built, result.missing) == (1, ())
    assert verify_options_surface(market.lake, result.manifest).has_passed
    base = market.surface()
    assert base.height == 5_760
    known = base.filter(pl.col("atm_iv_30d").is_not_null())
    assert known.height == 5_760 - 2  # nothing had arrived before the first half minute
    for name in ("atm_iv_7d", "atm_iv_30d", "atm_iv_60d", "atm_iv_90d", "put_iv_25d_30d"):
        assert known[name].to_numpy() == pytest.approx(SIGMA, rel=1e-9)
    assert known["mark_premium_gap_bps"].max() < 1e-6
    assert known["option_count"].unique().to_list() == [len(market.options)]
    for timeframe in Timeframe:
        rows = market.surface(timeframe)
        joined = base.filter(pl.col("ts_close").is_in(rows["ts_close"].implode()))
        skipped = {"timeframe", "ts_open"}
        assert rows.height == timeframe.bars_per_day
        assert rows.drop(skipped).equals(joined.drop(skipped))


@pytest.mark.parametrize(("venue", "settle"), [("okex-options", "BTC"), ("deribit", "USDC")])
def test_units_of_venue_and_premium_end_in_one(lake, venue, settle):
    market = Market(lake, VenueId(venue), settle=settle)
    market.ingest()
    market.build()
    last = market.surface(Timeframe.H24)
    assert last["atm_iv_30d"][0] == pytest.approx(SIGMA, rel=1e-9)
    assert last["mark_premium_gap_bps"][0] < 1e-6


def test_the_state_before_midnight_comes_from_the_day_before(market):
    market.ingest()
    market.build()
    assert market.surface()["option_count"][:2].to_list() == [0, 0]
    last_second = np.array([US_PER_DAY - 1_000_000], dtype=np.int64)
    market.ingest(BEFORE, arrivals=last_second)
    result = market.build()
    assert result.built == 1
    assert market.surface()["option_count"][0] == len(market.options)
    assert market.surface()["atm_iv_30d"].null_count() == 0


def test_a_state_from_before_midnight_ages_like_any_other(market):
    market.ingest(arrivals=np.array([US_PER_DAY - MINUTE], dtype=np.int64))
    market.ingest(BEFORE, arrivals=np.array([US_PER_DAY - 4 * MINUTE], dtype=np.int64))
    market.build()
    surface = market.surface()
    assert surface["option_count"][3] == len(market.options)  # five minutes old at 00:01
    # older than that nothing gives a forward, whatever wings may be
    assert surface["option_count"][4] == 0
    assert surface["expiry_count"][4] == 0


def test_rows_of_a_large_file_are_thinned_the_same_however_it_is_cut(market, monkeypatch):
    arrivals = np.arange(0, US_PER_DAY, 7_000_000, dtype=np.int64)
    market.options = market.options[:20]
    market.ingest(arrivals=arrivals)
    market.build()
    whole = market.bytes()
    reader = surface_build.ArrivalReader

    class Shredded(reader):
        def until(self, end_us):
            for frame in super().until(end_us):
                yield from frame.iter_slices(1_001)

    monkeypatch.setattr(surface_build, "ArrivalReader", Shredded)
    for path in list(market.bytes()):
        market.lake.store.delete(path)
    market.build()
    assert market.bytes() == whole


def test_a_second_run_reads_nothing_and_changes_no_byte(market, monkeypatch):
    market.ingest()
    market.build()
    before = market.bytes()
    monkeypatch.setattr(options_surface, "build_surface", None)
    result = market.build()
    assert result.is_no_op
    assert result.manifest.height == len(Timeframe)
    assert market.bytes() == before


def test_a_changed_row_builds_again_and_equal_rows_are_equal_bytes(market):
    market.ingest()
    market.build()
    first = market.bytes()
    market.ingest(sigma=0.8)
    assert market.build().built == 1
    assert market.surface(Timeframe.H24)["atm_iv_30d"][0] == pytest.approx(0.8)
    assert market.bytes() != first
    market.ingest()
    market.build()
    assert market.bytes() == first


def test_a_killed_run_leaves_the_old_manifest_and_the_next_run_the_same_bytes(market, monkeypatch):
    market.ingest()
    market.build()
    whole = market.bytes()
    for path in whole:
        market.lake.store.delete(path)
    written = type(market.lake).write_table

    def killed(lake, item, *args, **options):
        if isinstance(item, OptionsSurfaceFile) and item.timeframe is Timeframe.H1:
            raise KeyboardInterrupt
        return written(lake, item, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(market.lake), "write_table", killed)
        with pytest.raises(KeyboardInterrupt):
            market.build()
    assert not market.lake.exists(OptionsSurfaceManifest(DAY, market.cell.venue))
    assert surface_for(market.lake, DAY, "BTC", VenueId.BINANCE) is None
    assert market.build().built == 1
    assert market.bytes() == whole


def test_a_lost_file_is_built_again(market):
    market.ingest()
    market.build()
    whole = market.bytes()
    market.lake.delete(OptionsSurfaceFile(DAY, Timeframe.H4, market.cell.venue, "BTC-USD"))
    assert market.build().built == 1
    assert market.bytes() == whole


def test_without_the_raw_chain_the_answer_is_what_to_run(market):
    with pytest.raises(MissingUpstream, match=r"raw_ticks/options_chain .* not materialized"):
        market.build()


def test_missing_options_are_named_and_the_others_make_the_surface(market):
    lost = market.key(market.options[0])
    market.states[lost] = DataState.FAILED
    market.ingest()
    result = market.build()
    assert [option.instrument_key for option in result.missing] == [lost]
    assert result.missing[0].reason
    row = result.manifest.row(0, named=True)
    counts = (row["options"], row["present_options"], row["missing_options"])
    assert counts == (len(market.options), len(market.options) - 1, 1)
    assert market.surface(Timeframe.H24)["option_count"][0] == len(market.options) - 1


@pytest.mark.parametrize("state", [DataState.EMPTY, DataState.FAILED, DataState.NOT_LISTED])
def test_a_day_without_a_row_has_no_surface(market, state):
    market.states = {market.key(option): state for option in market.options}
    market.ingest()
    result = market.build()
    assert result.manifest.height == result.built == 0
    assert len(result.missing) == (len(market.options) if state is DataState.FAILED else 0)
    assert surface_digest(market.lake, DAY, "BTC", VenueId.DERIBIT) is None


def test_a_broken_raw_file_is_an_answer(market):
    market.ingest()
    item = RawTickFile(DAY, DataType.OPTIONS_CHAIN, market.key(market.options[0]))
    market.lake.store.write(item.path, b"PAR1 is not enough")
    with pytest.raises(CorruptData):
        market.build()


def test_progress_is_told_after_each_underlying(market):
    market.ingest()
    told = []
    market.build(on_progress=told.append)
    assert [(one.done, one.total, one.unit) for one in told] == [(1, 1, "underlyings")]
    assert told[0].rows == sum(timeframe.bars_per_day for timeframe in Timeframe)


def test_a_candle_gets_its_own_venues_surface_first_and_deribits_otherwise(lake):
    okex, deribit = Market(lake, VenueId.OKEX_OPTIONS), Market(lake)
    okex.ingest(sigma=0.5)
    okex.build()
    asked = VenueId.BINANCE
    assert surface_for(lake, DAY, "BTC", asked)[2] is VenueId.OKEX_OPTIONS
    deribit.ingest()
    deribit.build()
    for venue, expected in (
        (asked, VenueId.DERIBIT),
        (VenueId.DERIBIT, VenueId.DERIBIT),
        (VenueId.OKEX_OPTIONS, VenueId.OKEX_OPTIONS),
    ):
        frames, digest, found = surface_for(lake, DAY, "BTC", venue)
        assert found is expected
        assert digest == surface_digest(lake, DAY, "BTC", venue)
        assert set(frames) == set(Timeframe)
        assert frames[Timeframe.H24]["venue"].to_list() == [expected.value]
    assert surface_for(lake, DAY, "ETH", asked) is None
    assert surface_for(lake, BEFORE, "BTC", asked) is None
    assert surface_digest(lake, DAY, "BTC", asked) != surface_digest(
        lake, DAY, "BTC", VenueId.OKEX_OPTIONS
    )


def test_of_two_chains_on_one_asset_the_one_in_dollars_stands_for_it(lake):
    linear = Market(lake, underlying="BTC-USDC", settle="USDC")
    linear.ingest(sigma=0.7)
    linear.build()
    frames, _, _ = surface_for(lake, DAY, "BTC", VenueId.BINANCE)
    assert frames[Timeframe.H24]["underlying"].to_list() == ["BTC-USDC"]


def test_a_manifest_whose_file_is_gone_is_an_answer(market):
    market.ingest()
    market.build()
    market.lake.delete(OptionsSurfaceFile(DAY, Timeframe.M5, market.cell.venue, "BTC-USD"))
    with pytest.raises(CorruptData, match="options_surface partition again"):
        surface_for(market.lake, DAY, "BTC", VenueId.BINANCE)
