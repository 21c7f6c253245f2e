"""Laws of the audits of ticks: pieces do not matter, what is cut out is found, quiet is no hole."""

from __future__ import annotations

import datetime as dt
import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, US_PER_SECOND, day_start_us
from tickhandler_dagster.market.quality.arrivals import ArrivalAudit, Arrivals
from tickhandler_dagster.market.quality.broken_rows import FileSubject
from tickhandler_dagster.market.quality.file_audit import FileAudit
from tickhandler_dagster.market.quality.gaps import GapKind
from tickhandler_dagster.market.quality.price_grid import PRICE_COLUMNS, off_grid
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.quality.silences import RowSpan, silences, venue_arrivals
from tickhandler_dagster.market.quality.tick_gaps import Outage, is_covered
from tickhandler_dagster.market.quality.trade_numbers import NumberAudit
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.venues import VenueId

DAY = dt.date(2024, 8, 8)
START = day_start_us(DAY)
SPAN = RowSpan(START, START + US_PER_DAY)
HOUR = 3600 * US_PER_SECOND
MINUTE = 60 * US_PER_SECOND


def subject(data_type=DataType.TRADES, **changes):
    return FileSubject(DAY, VenueId.BINANCE, data_type, "BINANCE:SPOT_PAIR:BTC-USDT", **changes)


def stamped(data_type, arrival, **columns):
    """A frame of the type: what is not given is null, exchange time is 5 ms before arrival."""
    schema = RAW_TABLES[data_type].stored.polars_schema
    known = {
        "timestamp": pl.Series(arrival - 5_000),
        "local_timestamp": pl.Series(arrival),
    } | columns
    return pl.DataFrame(
        {
            name: pl.Series(known[name]).cast(dtype)
            if name in known
            else pl.repeat(None, len(arrival), dtype=dtype, eager=True)
            for name, dtype in schema.items()
        }
    )


def trades(chance, count):
    arrival = START + 10_000 + np.sort(chance.integers(0, US_PER_DAY - 20_000, count))
    return stamped(
        DataType.TRADES,
        arrival,
        id=[str(number) for number in range(10**9, 10**9 + count)],
        side=chance.choice(["buy", "sell", "unknown"], count),
        price=np.round(60_000 + chance.integers(-500, 500, count) / 10, 1),
        amount=np.ones(count),
    )


def book(chance, count, data_type=DataType.BOOK_SNAPSHOT_5):
    arrival = START + 10_000 + np.sort(chance.integers(0, US_PER_DAY - 20_000, count))
    mid = 60_000 + np.cumsum(chance.integers(-3, 4, count)) * 0.1
    names = (
        ("bid_price", "ask_price")
        if "book_snapshot" not in data_type
        else (
            "bid_price_1",
            "ask_price_1",
        )
    )
    spread = np.where(chance.uniform(size=count) < 0.01, 30.0, 0.1)
    spread[chance.uniform(size=count) < 0.01] = -0.1
    mid[chance.uniform(size=count) < 0.005] += 500
    prices = {names[0]: mid - spread / 2, names[1]: mid + spread / 2}
    return stamped(data_type, arrival, **prices)


def updates(chance, count):
    arrival = START + 10_000 + np.sort(chance.integers(0, US_PER_DAY - 20_000, count))
    return stamped(
        DataType.INCREMENTAL_BOOK_L2,
        arrival,
        is_snapshot=np.arange(count) % 97 < 5,
        side=["bid"] * count,
        price=60_000 + chance.integers(0, 40, count) / 20,
        amount=np.ones(count),
    )


def audited(frame, data_type, cuts=(), **changes):
    audit = FileAudit(subject(data_type, **changes))
    edges = [0, *sorted(cuts), frame.height]
    for start, end in itertools.pairwise(edges):
        audit.add(frame.slice(start, end - start))
    return audit.finish()


MAKERS = {
    DataType.TRADES: trades,
    DataType.BOOK_SNAPSHOT_5: book,
    DataType.QUOTES: lambda chance, count: book(chance, count, DataType.QUOTES),
    DataType.INCREMENTAL_BOOK_L2: updates,
}


@pytest.mark.parametrize("data_type", list(MAKERS))
@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(0, 4_000), max_size=6),
    shuffle=st.booleans(),
)
@settings(max_examples=15)
def test_a_file_says_the_same_in_whatever_pieces_it_is_read(data_type, seed, cuts, shuffle):
    chance = np.random.default_rng(seed)
    frame = MAKERS[data_type](chance, 4_000)
    if shuffle:
        stamps = frame["timestamp"].to_physical() + chance.integers(-50_000_000, 50_000_000, 4_000)
        frame = frame.with_columns(timestamp=stamps.cast(frame.schema["timestamp"]))
    options = {"tick_size": 0.1, "has_dense_ids": data_type is DataType.TRADES}
    whole = audited(frame, data_type, **options)
    pieces = audited(frame, data_type, cuts, **options)
    assert whole.findings == pieces.findings
    assert whole.gaps == pieces.gaps
    assert whole.numbers == pieces.numbers
    assert whole.arrivals.to_bytes() == pieces.arrivals.to_bytes()
    assert whole.arrivals.longest == pieces.arrivals.longest


@given(
    numbers=st.lists(st.integers(0, 60), min_size=1, max_size=80),
    cuts=st.lists(st.integers(0, 80), max_size=4),
)
@settings(max_examples=200)
def test_missing_numbers_are_those_between_the_lowest_and_the_highest_that_nobody_has(
    numbers, cuts
):
    audit = NumberAudit()
    edges = [0, *sorted(cuts), len(numbers)]
    for start, end in itertools.pairwise(edges):
        piece = numbers[start:end]
        if piece:
            audit.add(pl.Series([str(number) for number in piece]), np.array(piece) * 10)
    found = audit.finish()
    missing = set(range(min(numbers), max(numbers) + 1)) - set(numbers)
    assert (found.first, found.last, found.lost) == (min(numbers), max(numbers), len(missing))
    told = {number for hole in found.holes for number in range(hole.after + 1, hole.before)}
    assert told == missing
    assert all(
        (hole.start_us, hole.end_us) == (hole.after * 10, hole.before * 10) for hole in found.holes
    )


def test_ids_that_are_no_numbers_or_count_something_else_prove_nothing():
    for ids in (["a1", "a2"], ["1", None], ["1", "1000000"]):
        audit = NumberAudit()
        audit.add(pl.Series(ids, dtype=pl.String), np.array([1, 2]))
        assert audit.finish() is None


@given(
    seed=st.integers(0, 1_000),
    start=st.floats(0.1, 20),
    minutes=st.floats(1, 120),
)
@settings(max_examples=25)
def test_a_hole_in_dense_ids_is_found_with_its_bounds(seed, start, minutes):
    frame = trades(np.random.default_rng(seed), 20_000)
    begin = START + int(start * HOUR)
    end = begin + int(minutes * MINUTE)
    clock = frame["timestamp"].to_physical()
    kept = frame.filter((clock < begin) | (clock >= end))
    facts = audited(kept, DataType.TRADES, has_dense_ids=True)
    assert facts.numbers.lost == frame.height - kept.height
    (gap,) = facts.gaps
    assert gap.kind is GapKind.LOST_IDS
    assert gap.lost_trades == frame.height - kept.height
    before = kept.filter(pl.col("timestamp").to_physical() < begin)["timestamp"][-1]
    after = kept.filter(pl.col("timestamp").to_physical() >= end)["timestamp"][0]
    assert (gap.gap_start, gap.gap_end) == (before + dt.timedelta(microseconds=1), after)


def followed(arrival):
    audit = ArrivalAudit(START)
    clock = np.sort(np.asarray(arrival)).astype(np.int64)
    if len(clock):
        audit.add(clock - 5_000, clock)
    return audit.finish()


@given(seed=st.integers(0, 1_000), start=st.floats(0.5, 22), minutes=st.floats(2, 60))
@settings(max_examples=25)
def test_a_hole_in_book_snapshots_is_found_with_its_bounds(seed, start, minutes):
    chance = np.random.default_rng(seed)
    arrival = np.sort(START + chance.integers(0, US_PER_DAY, 120_000))
    begin = START + int(start * HOUR)
    end = begin + int(minutes * MINUTE)
    kept = arrival[(arrival < begin) | (arrival >= end)]
    (found,) = silences(followed(kept), SPAN, day_start_us=START)
    assert found.pause.start_us == kept[kept < begin][-1]
    assert found.pause.end_us == kept[kept >= end][0]
    assert found.pause.exchange_start_us == found.pause.start_us - 5_000


def clustered(chance, count, *, branching=0.8, scale_s=30):
    """Events that trigger others: bursts of five on average."""
    generation = START + chance.uniform(0, US_PER_DAY, int(count * (1 - branching)))
    found = [generation]
    while len(generation):
        children = chance.poisson(branching, len(generation))
        generation = np.repeat(generation, children)
        generation = generation + chance.exponential(scale_s * US_PER_SECOND, len(generation))
        generation = generation[generation < START + US_PER_DAY]
        found.append(generation)
    return np.concatenate(found)


def by_time_of_day(chance, count):
    arrival = chance.uniform(0, US_PER_DAY, count)
    likely = (1 + 0.9 * np.sin(2 * np.pi * arrival / US_PER_DAY)) / 1.9
    return START + arrival[chance.uniform(size=count) < likely]


def heavy_tailed(chance, count):
    waits = np.cumsum(chance.lognormal(0, 1.5, count))
    return START + waits / waits[-1] * (US_PER_DAY - 1)


def steady(chance, count):
    return START + chance.uniform(0, US_PER_DAY, count)


@pytest.mark.parametrize("process", [steady, by_time_of_day, clustered, heavy_tailed])
@pytest.mark.parametrize("count", [20, 300, 3_000, 30_000])
def test_neither_quiet_nor_liquid_days_are_called_silent(process, count):
    alarms = sum(
        bool(
            silences(
                followed(process(np.random.default_rng(seed), count)), SPAN, day_start_us=START
            )
        )
        for seed in range(25)
    )
    assert alarms == 0


def test_time_outside_the_listing_is_no_silence_and_its_edges_are():
    chance = np.random.default_rng(1)
    arrival = np.sort(START + chance.integers(8 * HOUR, 16 * HOUR, 30_000))
    arrivals = followed(arrival)
    listed = RowSpan(START + 8 * HOUR, START + 16 * HOUR)
    assert not silences(arrivals, listed, day_start_us=START)
    late = RowSpan(START + 7 * HOUR, START + 17 * HOUR)
    leading, trailing = silences(arrivals, late, day_start_us=START)
    assert (leading.pause.start_us, leading.pause.end_us) == (late[0], arrival[0])
    assert (trailing.pause.start_us, trailing.pause.end_us) == (arrival[-1], late[1])
    on_those_days = RowSpan(*late[:2], is_start_known=False, is_end_known=False)
    assert not silences(arrivals, on_those_days, day_start_us=START)


def test_a_hole_does_not_set_the_measure_it_is_held_against():
    arrival = START + np.arange(0, 12 * HOUR, 10 * US_PER_SECOND)
    for hours in (0.25, 2, 11):
        kept = arrival[: len(arrival) // 2]
        rest = kept[-1] + int(hours * HOUR) + np.arange(0, HOUR, 10 * US_PER_SECOND)
        both = np.concatenate((kept, rest))
        span = RowSpan(START, int(both[-1]) + 1)
        (found,) = silences(followed(both), span, day_start_us=START)
        assert found.pause.us == int(hours * HOUR)


def test_a_venue_is_silent_only_where_all_its_instruments_are():
    chance = np.random.default_rng(2)
    quiet = [np.sort(START + chance.integers(0, US_PER_DAY, 8_000)) for _ in range(20)]
    hole = (START + 10 * HOUR, START + 10 * HOUR + 5 * MINUTE)

    def without(arrival):
        return arrival[(arrival < hole[0]) | (arrival >= hole[1])]

    all_of_them = [followed(without(arrival)) for arrival in quiet]
    (found,) = silences(venue_arrivals(all_of_them, START), SPAN, day_start_us=START)
    assert abs(found.pause.start_us - hole[0]) < 3 * US_PER_SECOND
    assert abs(found.pause.end_us - hole[1]) < 3 * US_PER_SECOND
    but_one = [*all_of_them[1:], followed(quiet[0])]
    assert not silences(venue_arrivals(but_one, START), SPAN, day_start_us=START)
    assert venue_arrivals([Arrivals(np.zeros(86_400, dtype=np.bool_))], START).first is None


@given(st.lists(st.integers(0, US_PER_DAY - 1), max_size=40))
@settings(max_examples=50)
def test_arrivals_survive_being_stored(moments):
    arrivals = followed([START + moment for moment in moments])
    read = Arrivals.from_bytes(*arrivals.to_bytes())
    assert (read.is_active == arrivals.is_active).all()
    assert (read.pauses, read.first, read.last) == (
        arrivals.pauses,
        arrivals.first,
        arrivals.last,
    )


def test_an_incident_covers_what_it_leaves_less_than_a_minute_of():
    outage = Outage(100 * MINUTE, 110 * MINUTE, "")
    assert is_covered((100 * MINUTE - 1, 110 * MINUTE + 58 * US_PER_SECOND), [outage])
    assert not is_covered((99 * MINUTE, 110 * MINUTE), [outage])
    assert not is_covered((99 * MINUTE, 111 * MINUTE), [])
    two = [Outage(105 * MINUTE, 112 * MINUTE, ""), outage]
    assert is_covered((100 * MINUTE, 112 * MINUTE), two)


# ---- rules over rows --------------------------------------------------------------------------


def rules_of(facts):
    return {finding.rule: finding for finding in facts.findings}


@given(st.integers(1, 10**9), st.sampled_from([1e-8, 0.00001, 0.01, 0.1, 0.25, 0.5, 1.0, 5.0]))
@settings(max_examples=200)
def test_every_multiple_of_the_step_is_on_the_grid_and_what_lies_between_is_not(steps, tick):
    price = float(f"{steps * tick:.10g}") if steps < 10**6 else steps * tick
    assert not off_grid(np.array([price]), tick)[0]
    assert off_grid(np.array([(steps + 0.5) * tick]), tick)[0]


def test_prices_off_the_grid_are_counted_and_an_unknown_step_is_not_checked():
    frame = trades(np.random.default_rng(3), 100)
    odd = frame.with_columns(
        price=pl.when(pl.int_range(pl.len()) % 10 == 0).then(60_000.05).otherwise("price")
    )
    found = rules_of(audited(odd, DataType.TRADES, tick_size=0.1))[RuleName.OFF_PRICE_GRID]
    assert (found.rows, found.of_rows) == (10, 100)
    assert "60000.05" in found.sample
    assert RuleName.OFF_PRICE_GRID not in rules_of(audited(odd, DataType.TRADES))
    assert set(PRICE_COLUMNS) == set(DataType)


def test_unknown_sides_and_times_that_go_back_are_counted():
    frame = trades(np.random.default_rng(4), 300)
    facts = rules_of(audited(frame, DataType.TRADES))
    assert facts[RuleName.UNKNOWN_SIDE].rows == (frame["side"] == "unknown").sum()
    assert RuleName.OUT_OF_ORDER not in facts
    swapped = frame.with_columns(timestamp=frame["timestamp"].reverse())
    found = rules_of(audited(swapped, DataType.TRADES))[RuleName.OUT_OF_ORDER]
    assert found.rows == (swapped["timestamp"].to_physical().diff() < 0).sum()


def test_odd_book_states_are_found_and_a_plain_book_has_none():
    count = 5_000
    arrival = START + np.arange(count) * 10 * US_PER_SECOND
    mid = 100 + np.arange(count) % 5 * 0.1
    plain = {"bid_price": mid - 0.05, "ask_price": mid + 0.05}
    facts = audited(stamped(DataType.QUOTES, arrival, **plain), DataType.QUOTES)
    assert not facts.findings
    bid, ask = plain["bid_price"].copy(), plain["ask_price"].copy()
    ask[100] = bid[100] - 0.1
    ask[200] = bid[200]
    ask[300] += 6
    bid[2_000] += 40
    ask[2_000] += 40
    frame = stamped(DataType.QUOTES, arrival, bid_price=bid, ask_price=ask)
    facts = rules_of(audited(frame, DataType.QUOTES))
    assert facts[RuleName.CROSSED_BOOK].rows == 2
    assert facts[RuleName.CROSSED_BOOK].first_at == frame["timestamp"][100]
    assert facts[RuleName.WIDE_SPREAD].rows == 1
    assert facts[RuleName.WIDE_SPREAD].first_at == frame["timestamp"][300]
    assert facts[RuleName.REVERTING_JUMP].last_at == frame["timestamp"][2_000]


def test_only_snapshots_after_the_first_are_told():
    count = 1_000
    arrival = START + np.arange(count) * 10 * US_PER_SECOND
    flags = np.zeros(count, dtype=np.bool_)
    flags[:5] = True
    base = {"side": ["bid"] * count, "price": np.full(count, 1.0), "amount": np.ones(count)}
    frame = stamped(DataType.INCREMENTAL_BOOK_L2, arrival, is_snapshot=flags, **base)
    assert not audited(frame, DataType.INCREMENTAL_BOOK_L2).gaps
    flags[500:505] = True
    frame = stamped(DataType.INCREMENTAL_BOOK_L2, arrival, is_snapshot=flags, **base)
    facts = audited(frame, DataType.INCREMENTAL_BOOK_L2)
    (gap,) = facts.gaps
    assert gap.kind is GapKind.RESNAPSHOT
    assert gap.gap_end == frame["timestamp"][500]
    assert gap.gap_start == frame["timestamp"][499] + dt.timedelta(microseconds=1)
    assert rules_of(facts)[RuleName.RESNAPSHOT].rows == 1
