"""Which raw files serve each channel of the bars, and what a channel that is not there leaves."""

from __future__ import annotations

import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe

DEEP, FLAT = DataType.BOOK_SNAPSHOT_25, DataType.BOOK_SNAPSHOT_5
QUOTES, TICKER_OF_BOOK = DataType.QUOTES, DataType.BOOK_TICKER
TRADES, LIQUIDATIONS = DataType.TRADES, DataType.LIQUIDATIONS
MIDS = ((10, 100), (20, 101), (30, 100.5))
STATES = ((10, 99.5, 100.5), (20, 100.5, 101.5), (30, 100, 101))


@pytest.fixture
def traded(lab):
    lab.put(lab.one, TRADES, lab.trades(lab.one, (11, 100, 1), (21, 101, 2, "sell")))
    return lab


def sources(lab):
    row = lab.build().manifests[Timeframe.H24].row(0, named=True)
    bar = lab.day_bar()
    assert (row["book_source"], row["quote_source"]) == (bar["book_source"], bar["quote_source"])
    return row["book_source"], row["quote_source"]


def test_the_deeper_snapshots_go_before_the_flatter_ones(traded):
    traded.put(traded.one, FLAT, traded.book(traded.one, *MIDS))
    assert sources(traded) == (FLAT, FLAT)
    traded.put(traded.one, DEEP, traded.book(traded.one, *MIDS[:2], depth=25))
    assert sources(traded) == (DEEP, DEEP)
    row = traded.build().manifests[Timeframe.H24].row(0, named=True)
    assert (row["book_rows"], row["quote_rows"]) == (2, 0)


def test_a_type_with_rows_goes_before_a_preferred_one_that_is_empty(traded):
    traded.put(traded.one, DEEP, DataState.EMPTY)
    traded.put(traded.one, QUOTES, DataState.EMPTY)
    assert sources(traded) == (DEEP, QUOTES)
    traded.put(traded.one, FLAT, traded.book(traded.one, *MIDS))
    ticker = traded.quotes(traded.one, *STATES, data_type=TICKER_OF_BOOK)
    traded.put(traded.one, TICKER_OF_BOOK, ticker)
    assert sources(traded) == (FLAT, TICKER_OF_BOOK)


@pytest.mark.parametrize("state", [DataState.FAILED, DataState.NOT_LISTED, DataState.QUARANTINED])
def test_a_type_that_failed_serves_nothing(traded, state):
    traded.put(traded.one, QUOTES, state)
    assert sources(traded) == (None, None)


def test_quotes_go_before_the_book_ticker(traded):
    ticker = traded.quotes(traded.one, *STATES, data_type=TICKER_OF_BOOK)
    traded.put(traded.one, TICKER_OF_BOOK, ticker)
    assert sources(traded) == (None, TICKER_OF_BOOK)
    traded.put(traded.one, QUOTES, traded.quotes(traded.one, *STATES[:1]))
    assert sources(traded) == (None, QUOTES)
    assert traded.build().manifests[Timeframe.H24]["quote_rows"].to_list() == [1]


def test_quotes_without_an_exchange_time_give_way_to_snapshots_with_rows(traded):
    ticker = traded.quotes(traded.one, *STATES, data_type=TICKER_OF_BOOK, delay_s=0)
    traded.put(traded.one, TICKER_OF_BOOK, ticker)
    assert sources(traded) == (None, TICKER_OF_BOOK)
    traded.put(traded.one, FLAT, DataState.EMPTY)
    assert sources(traded) == (FLAT, TICKER_OF_BOOK)  # an empty book is not better than a clock
    traded.put(traded.one, FLAT, traded.book(traded.one, *MIDS))
    assert sources(traded) == (FLAT, FLAT)


def test_empty_quotes_beside_snapshots_give_way_to_their_first_level(traded):
    traded.put(traded.one, QUOTES, DataState.EMPTY)
    traded.put(traded.one, FLAT, traded.book(traded.one, *MIDS))
    assert sources(traded) == (FLAT, FLAT)
    assert traded.bars()["spread_tw_abs"][1] == pytest.approx(1.0)


def test_the_first_level_serves_as_quotes_but_gives_no_flow_of_events(traded):
    traded.put(traded.one, FLAT, traded.book(traded.one, *MIDS))
    traded.build()
    bar = traded.day_bar()
    assert (bar["ofi"], bar["ofi_event_count"], bar["ofi_normalised"]) == (None, None, None)
    assert bar["ofi_snap_event_count"] == 2  # the first state opens the file
    assert bar["ofi_snap_1"] is not None
    assert bar["update_count"] == 2
    assert bar["mid_matched_notional"] == pytest.approx(100 + 202)
    # the state of 20 s, 101 and a unit wide, is the last before the sell at 21 s
    assert bar["effective_spread_bps"] == pytest.approx(0, abs=1e-9)


def test_without_any_book_its_columns_are_null_and_the_others_as_they_are_with_it(make_lab):
    plain, full = make_lab("plain"), make_lab("full")
    frames = full.put_market(full.one)
    plain.put(plain.one, TRADES, frames[TRADES])
    for lab in (plain, full):
        lab.build()
    for timeframe in (Timeframe.S15, Timeframe.H24):
        bare, rich = (lab.bars(lab.one, timeframe) for lab in (plain, full))
        of_trades = set(plain.columns_of(Channel.TRADES))
        for channel in (Channel.TOP, Channel.LEVELS, Channel.TICKER, Channel.LIQUIDATIONS):
            names = plain.columns_of(channel)
            assert names
            assert bare.select(names).null_count().row(0) == (bare.height,) * len(names)
            of_trades -= set(names)
        assert bare.select(sorted(of_trades)).equals(rich.select(sorted(of_trades)))
        known = [name for name in full.columns_of(Channel.LEVELS) if "fit_day" not in name]
        assert rich.select(known).null_count().row(0) < (rich.height,) * len(known)


def test_bars_of_trades_alone_are_final_when_the_neighbours_trades_are_in(lab):
    lab.put_market(lab.one, TRADES)
    lab.put(lab.two, TRADES, DataState.EMPTY)
    lab.listed = [lab.instrument(available_from=lab.at(lab.one, 0))]
    lab.build()
    assert lab.bars()["is_final"].all()


@pytest.mark.parametrize("rows", [(), ((11, 100, 1), (21, 101, 2))])
def test_money_is_unknown_while_the_contract_s_units_are_be_there_trades_or_not(lab, rows):
    lab.put(lab.one, TRADES, lab.trades(lab.one, *rows) if rows else DataState.EMPTY)
    lab.put(lab.one, QUOTES, lab.quotes(lab.one, *STATES))
    lab.listed = [lab.instrument(contract_size=None)]
    lab.build()
    bar = lab.day_bar()
    money = ("volume", "signed_notional", "matched_notional_1s", "kyle_x_sum", "amihud_count")
    assert [name for name in money if bar[name] is not None] == []
    assert (bar["trade_count"], bar["update_count"]) == (len(rows), 2)
    assert bar["status"] == ("traded" if rows else "no_trade")


def test_no_liquidation_is_zero_and_no_feed_of_liquidations_is_unknown(traded):
    traded.build()
    assert traded.day_bar()["liquidation_count"] is None
    traded.put(traded.one, LIQUIDATIONS, DataState.EMPTY)
    row = traded.build().manifests[Timeframe.H24].row(0, named=True)
    bar = traded.day_bar()
    assert (bar["liquidation_count"], bar["liquidation_sell_volume"]) == (0, 0.0)
    assert (bar["liquidation_size_max"], bar["bar_version"]) == (None, 2)
    assert (row["liquidations_state"], row["liquidation_rows"]) == ("empty", 0)
    traded.put(traded.one, LIQUIDATIONS, traded.liquidations(traded.one, (5, 100, 2), (6, 99, 1)))
    row = traded.build().manifests[Timeframe.H24].row(0, named=True)
    bar = traded.day_bar()
    assert (bar["liquidation_count"], bar["liquidation_size_max"]) == (2, 2.0)
    assert (row["liquidations_state"], row["liquidation_rows"]) == ("present", 2)


def test_the_manifest_counts_the_rows_of_every_channel_over_all_files(lab):
    frames = lab.put_market(lab.one)
    lab.put_market(lab.two)
    late = lab.quotes(lab.two, (-0.5, 99, 101, 1, 1, 0.2), (1, 99, 101))
    lab.put(lab.two, QUOTES, late)
    row = lab.build().manifests[Timeframe.H24].row(0, named=True)
    assert row["quote_rows"] == frames[QUOTES].height + 1
    assert row["book_rows"] == frames[FLAT].height
    assert row["ticker_rows"] == frames[DataType.DERIVATIVE_TICKER].height
    assert row["liquidation_rows"] == 2
    assert (row["ticker_state"], row["liquidations_state"]) == ("present", "present")


@pytest.mark.parametrize(
    "data_type", [TRADES, QUOTES, FLAT, DataType.DERIVATIVE_TICKER, LIQUIDATIONS]
)
def test_a_file_whose_rows_are_not_those_of_its_manifest_stops_the_build(lab, data_type):
    frames = lab.put_market(lab.one)
    rows = frames[data_type].height
    lab.put(lab.one, data_type, frames[data_type], rows=rows + 1)
    with pytest.raises(CorruptData) as raised:
        lab.build()
    assert str(raised.value) == (
        f"{lab.key}: {data_type} file of 2024-08-08: rows of the day and the manifest do not add "
        f"up (was {rows}; expected {rows + 1}). "
        f"Materialize raw_ticks/{data_type} of 2024-08-08 again with force."
    )
    assert not lab.written()


@pytest.mark.parametrize("data_type", [QUOTES, FLAT, LIQUIDATIONS])
def test_a_neighbouring_file_is_held_to_its_manifest_too(lab, data_type):
    lab.put_market(lab.one)
    lab.put(lab.two, data_type, lab.market(lab.two)[data_type], rows_before_day=1)
    with pytest.raises(CorruptData, match=rf"{data_type} file of 2024-08-09: .*was 0; expected 1"):
        lab.build()


@pytest.mark.parametrize(
    ("waiting", "is_final"),
    [
        *((data_type, False) for data_type in (TRADES, QUOTES, FLAT, LIQUIDATIONS)),
        *((data_type, True) for data_type in (DataType.DERIVATIVE_TICKER, TICKER_OF_BOOK, DEEP)),
    ],
)
def test_closing_bars_wait_for_the_next_file_of_every_channel_that_has_rows_in_it(
    lab, waiting, is_final
):
    frames = lab.put_market(lab.one)
    for data_type in frames:
        if data_type is not waiting:
            lab.put(lab.two, data_type, DataState.EMPTY)
    lab.build()
    last = lab.bars()["is_final"].to_list()
    assert last[-1] is is_final
    assert last[5_700] is True  # opens more than ten minutes from either midnight
    assert last[0] is False  # nothing is known of the day before
    assert lab.bars(lab.one, Timeframe.H24)["is_final"].to_list() == [False]


def test_opening_bars_wait_for_the_day_before_of_every_channel_in_use(lab):
    for data_type in lab.put_market(lab.two):
        if data_type is not DataType.DERIVATIVE_TICKER:
            lab.put(lab.one, data_type, DataState.EMPTY)
    lab.build(lab.two)
    assert lab.bars(lab.two)["is_final"][0] is False
    lab.put(lab.one, DataType.DERIVATIVE_TICKER, DataState.EMPTY)
    lab.build(lab.two)
    assert lab.bars(lab.two)["is_final"][0] is True


def test_a_channel_that_comes_later_gives_new_versions_of_the_bars(lab):
    frames = lab.put_market(lab.one, TRADES)
    first = lab.build()
    assert first.changes.new == 5_761
    trades_only = lab.bars()
    lab.put(lab.one, QUOTES, frames[QUOTES])
    second = lab.build()
    assert (second.built, second.changes.new) == (1, 0)
    assert second.changes.changed == 5_761  # the source of the quotes is on every bar
    bars = lab.bars()
    assert bars["bar_version"].unique().to_list() == [2]
    assert bars["close"].equals(trades_only["close"])
    assert bars["spread_tw_bps"].count() > 0
    assert lab.build().is_no_op


IMPACT = ("1s", "5s", "30s")
LAST = 86_400


def closing_trades(lab):
    """Trades whose horizons end before and after midnight; the mid moves by one after each."""
    times = (LAST - 40, LAST - 20, LAST - 3, LAST - 0.5)
    lab.put(
        lab.one,
        TRADES,
        lab.trades(lab.one, *((t, 100 + number, 1) for number, t in enumerate(times))),
    )
    states = [(LAST - 42 + step, 99 + step / 10, 101 + step / 10) for step in range(42)]
    lab.put(lab.one, QUOTES, lab.quotes(lab.one, *states))


def test_what_looks_past_a_bar_says_when_it_could_be_known(lab):
    closing_trades(lab)
    lab.build()
    bar = lab.bars().row(-3, named=True)  # 40 s before midnight: one trade, 5 s into the bar
    for tag, seconds in (("1s", 1), ("5s", 5), ("30s", 30)):
        assert bar[f"available_at_{tag}"] == lab.at(lab.one, LAST - 30 + seconds + 0.2)
        assert bar[f"price_impact_{tag}_bps"] > 0
    late = lab.trades(lab.one, (100, 100, 1, {"arrival": 130}))
    lab.put(lab.one, TRADES, late)
    lab.put(lab.one, QUOTES, lab.quotes(lab.one, (99, 99, 101), (128, 99, 101)))
    lab.build()
    bar = lab.bars().row(6, named=True)
    assert bar["available_at"] == lab.at(lab.one, 130.2)
    assert bar["available_at_5s"] == lab.at(lab.one, 135.2)  # its horizon begins with its arrival


def test_delayed_values_at_the_end_of_the_day_wait_for_the_quotes_of_the_next(lab):
    closing_trades(lab)
    lab.build()
    early, last = (lab.bars().row(row, named=True) for row in (-3, -1))
    assert early["matched_notional_30s"] == 100
    assert [last[f"matched_notional_{tag}"] for tag in IMPACT] == [102, 0, 0]
    assert [last[f"price_impact_{tag}_bps"] is None for tag in IMPACT] == [False, True, True]
    assert last["is_final"] is False
    states = [(step, 110 + step, 112 + step) for step in range(40)]
    lab.put(lab.two, QUOTES, lab.quotes(lab.two, *states))
    lab.put(lab.two, TRADES, DataState.EMPTY)
    lab.build()
    last = lab.bars().row(-1, named=True)
    assert [last[f"matched_notional_{tag}"] for tag in IMPACT] == [205, 205, 205]
    assert (last["is_final"], last["bar_version"]) == (True, 2)
    # A mid that arrives with the trade is after it at the start and counts at the horizon's end.
    expected = sum(
        price * 2e4 * (after - before) / before
        for price, before, after in ((102, 103.8, 111 + 27), (103, 104.1, 111 + 29))
    )
    assert last["price_impact_sum_30s"] == pytest.approx(expected)


def test_recovery_after_the_last_depletion_is_unresolved_until_the_next_day_is_known(lab):
    lab.put(lab.one, TRADES, lab.trades(lab.one, (11, 100, 1)))
    states = ((LAST - 4, 99, 101, 8, 8), (LAST - 2, 99, 101, 8, 1))
    lab.put(lab.one, QUOTES, lab.quotes(lab.one, *states))
    lab.build()
    bar = lab.bars().row(-1, named=True)
    assert (bar["resilience_event_count"], bar["resilience_unresolved_count"]) == (0, 1)
    lab.put(lab.two, QUOTES, lab.quotes(lab.two, (1, 99, 101, 8, 8)))
    lab.build()
    bar = lab.bars().row(-1, named=True)
    assert (bar["resilience_event_count"], bar["resilience_recovered_count"]) == (1, 1)
    assert bar["resilience_unresolved_count"] == 0
