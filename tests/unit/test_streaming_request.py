"""From the options of live commands to values: symbols, lengths of time, speeds, subscriptions."""

from __future__ import annotations

import polars as pl
import pytest

from tickhandler_dagster.cli.streaming_feed import Feeds, subscription
from tickhandler_dagster.cli.streaming_parts import Chosen
from tickhandler_dagster.cli.streaming_request import (
    CANDLE_TYPES,
    StreamingRequest,
    Target,
    duration_seconds,
    replay_speed,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidInput, StorageDenied
from tickhandler_dagster.market.live.symbol_choice import SHOWN, chosen_keys
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.streaming.instruments import LiveInstrument

SPOT, PERPETUAL = "BINANCE:SPOT_PAIR:BTC-USDT", "BINANCE-FUTURES:PERPETUAL:BTC-USDT"


def universe(**symbols):
    rows = {"instrument_key": list(symbols.values()), "tardis_symbol": list(symbols)}
    return pl.DataFrame(rows, schema={"instrument_key": pl.String, "tardis_symbol": pl.String})


UNIVERSES = {
    VenueId.BINANCE: universe(btcusdt=SPOT, ethusdt="BINANCE:SPOT_PAIR:ETH-USDT"),
    VenueId.BINANCE_FUTURES: universe(btcusdt=PERPETUAL),
}


def chosen(*texts, is_each_venue=False):
    found = chosen_keys(UNIVERSES, texts, is_each_venue=is_each_venue)
    return sorted(key for keys in found.values() for key in keys)


@pytest.mark.parametrize("text", [PERPETUAL, PERPETUAL.lower(), "binance-futures:*", "*:PERP*:*"])
def test_a_canonical_key_or_a_pattern_of_it_names_its_instrument(text):
    assert chosen(text) == [PERPETUAL]


@pytest.mark.parametrize("text", ["ETH-USDT", "eth-usdt", "ETHUSDT"])
def test_a_symbol_that_one_venue_has_needs_nothing_more(text):
    assert chosen(text) == ["BINANCE:SPOT_PAIR:ETH-USDT"]


def test_a_symbol_of_two_venues_is_refused_with_the_choices():
    with pytest.raises(InvalidInput) as error:
        chosen("BTC-USDT")
    assert SPOT in str(error.value)
    assert PERPETUAL in str(error.value)
    assert "--venues" in str(error.value)


def test_a_symbol_of_venues_that_were_named_means_that_of_each():
    assert chosen("BTC-USDT", is_each_venue=True) == sorted([SPOT, PERPETUAL])


def test_two_instruments_of_one_venue_under_one_symbol_stay_ambiguous():
    many = {f"{number}": f"DERIBIT:OPTION_{number}:BTC-USD" for number in range(SHOWN + 3)}
    with pytest.raises(InvalidInput, match="and 3 more"):
        chosen_keys({VenueId.DERIBIT: universe(**many)}, ["BTC-USD"], is_each_venue=True)


def test_a_pattern_names_all_it_fits_and_nothing_twice():
    assert chosen("*-USDT", "BTC*") == sorted([SPOT, PERPETUAL, "BINANCE:SPOT_PAIR:ETH-USDT"])


def test_a_symbol_that_nobody_has_is_an_error():
    with pytest.raises(InvalidInput, match="no instrument"):
        chosen("DOGE-USDT")


def test_options_become_values():
    request = StreamingRequest.parse(
        symbols="BTC-USDT, ETH-USDT", venues="binance-futures", timeframes="15s,1h", to="ndjson"
    )
    assert request.symbols == ("BTC-USDT", "ETH-USDT")
    assert request.timeframes == (Timeframe.S15, Timeframe.H1)
    assert (request.to, request.data_types) == (Target.NDJSON, CANDLE_TYPES)
    assert StreamingRequest.parse(symbols="A", duration="90s").duration_s == 90


@pytest.mark.parametrize(
    "options",
    [
        {"symbols": " , "},
        {"symbols": "A", "to": "paper"},
        {"symbols": "A", "duration": "soon"},
        {"symbols": "A", "duration": "0m"},
        {"symbols": "A", "speed": "fast"},
        {"symbols": "A", "speed": "-1"},
        {"symbols": "A", "speed": "inf"},
        {"symbols": "A", "timeframes": "2m"},
        {"symbols": "A", "data_types": "bars"},
        {"symbols": "A", "venues": "nowhere"},
    ],
)
def test_a_wrong_option_is_an_error_before_anything_starts(options):
    with pytest.raises(InvalidInput):
        StreamingRequest.parse(**options)


def test_lengths_and_speeds_have_units():
    assert duration_seconds("36h") == 36 * 3_600
    assert replay_speed("max") is None


def instrument(symbol, kind, *types):
    row = {"instrument_type": kind, "data_types": list(types)}
    return LiveInstrument(f"DERIBIT:{kind}:{symbol}", VenueId.DERIBIT, symbol, row, {})


def test_options_are_asked_for_apart_from_what_they_stand_on():
    both = Chosen(
        (
            instrument("BTC-PERPETUAL", "PERPETUAL", "trades", "derivative_ticker"),
            instrument("BTC-1-C", "OPTION", "trades", "options_chain"),
        ),
        {},
    )
    types = (DataType.TRADES, DataType.DERIVATIVE_TICKER, DataType.OPTIONS_CHAIN)
    wanted = subscription(both, types, VenueId.DERIBIT)
    assert (wanted.symbols, wanted.options) == (("BTC-PERPETUAL",), ("BTC-1-C",))
    assert wanted.data_types == (DataType.TRADES, DataType.DERIVATIVE_TICKER)
    assert wanted.option_types == (DataType.TRADES, DataType.OPTIONS_CHAIN)


class FakeFeed:
    def __init__(self, error=None):
        self.error, self.failure, self.is_alive = error, None, False

    def start(self):
        if self.error:
            raise self.error
        self.is_alive = True

    def stop(self):
        self.is_alive = False


def test_where_one_feed_cannot_begin_the_others_are_ended_again():
    error = StorageDenied("spool", "not writable", remedy="Allow it")
    first, second = FakeFeed(), FakeFeed(error)
    with pytest.raises(StorageDenied):
        Feeds([first, second]).start()
    assert not first.is_alive
    feeds = Feeds([first])
    feeds.start()
    assert feeds.is_alive
    assert feeds.failure is None
    feeds.stop()
    assert not feeds.is_alive
