"""The quality rules of raw files: total, named, and each one applied."""

from __future__ import annotations

import asyncio
import datetime as dt

import polars as pl
import pytest

from tickhandler_dagster.adapters.memory_ledger import MemoryLedger, MemoryUse
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, day_start_us
from tickhandler_dagster.market.errors import CorruptData, KeyLocked, NoEntitlement
from tickhandler_dagster.market.quality.file_rules import FileRules
from tickhandler_dagster.market.quality.row_rules import REASON, quarantine_table, split_rows
from tickhandler_dagster.market.quality.rules import RULES, RuleName, Severity
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.tick_csv import TickCsv
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.admission import MemoryGate
from tickhandler_dagster.pipeline.refusals import Refusals

DAY = dt.date(2024, 8, 8)
START = day_start_us(DAY)


def cells(table, **values):
    """A valid row of the table as CSV cells."""
    found = []
    for raw in table.columns:
        column = raw.stored
        if column.name in values:
            found.append(str(values[column.name]))
        elif isinstance(column.dtype, pl.Datetime):
            found.append(str(START + 5_000_000))
        elif column.bounds.one_of:
            found.append(column.bounds.one_of[0])
        elif "_price_" in column.name:
            found.append(str(level_price(column.name)))
        else:
            found.append({pl.Boolean(): "true", pl.Float64(): "1.5"}.get(column.dtype, "text"))
    return found


def level_price(name):
    """Asks above 100, the best first, and bids below it."""
    side, _, level = name.split("_")
    return 100 + int(level) * (0.5 if side == "ask" else -0.5)


def block(table, *rows):
    return "".join(f"binance,X,{','.join(row)}\n" for row in rows).encode()


def grammar(table, symbol="X"):
    return TickCsv(table=table, venue=VenueId.BINANCE, symbol=symbol, subject="s")


def test_every_rule_has_a_severity_and_a_meaning():
    assert set(RULES) == set(RuleName)
    for rule in RULES.values():
        assert rule.severity in Severity
        assert rule.meaning


@pytest.mark.parametrize("data_type", list(DataType))
def test_every_type_parses_into_its_stored_columns(data_type):
    table = RAW_TABLES[data_type]
    frame = grammar(table).parse(block(table, cells(table), cells(table)))
    assert frame.schema == table.stored.polars_schema
    kept, kept_out = split_rows(frame, table)
    assert kept.equals(frame)
    assert kept_out.is_empty()
    grouped = grammar(table, None).parse(block(table, cells(table)))
    assert grouped.columns == ["symbol", *table.stored.names]
    assert set(kept_out.columns) | {"symbol"} == set(quarantine_table(table).names)


@pytest.mark.parametrize("data_type", list(DataType))
def test_empty_cells_are_null_and_break_no_row_rule(data_type):
    table = RAW_TABLES[data_type]
    empty = {column.name: "" for column in table.stored.columns if column.is_nullable}
    frame = grammar(table).parse(block(table, cells(table, **empty)))
    assert all(frame[name].null_count() == 1 for name in empty)
    assert split_rows(frame, table)[0].height == 1


@pytest.mark.parametrize("data_type", list(DataType))
def test_a_number_beyond_its_bounds_is_kept_out(data_type):
    table = RAW_TABLES[data_type]
    for column in table.stored.columns:
        limits = (column.bounds.gt, column.bounds.ge)
        if limits == (None, None):
            continue
        frame = grammar(table).parse(block(table, cells(table), cells(table, **{column.name: -1})))
        kept, kept_out = split_rows(frame, table)
        is_positive = column.name in table.positive
        reason = RuleName.NOT_POSITIVE if is_positive else RuleName.OUT_OF_BOUNDS
        assert (kept.height, kept_out[REASON].to_list()) == (1, [reason])


@pytest.mark.parametrize("data_type", [DataType.BOOK_SNAPSHOT_5, DataType.BOOK_SNAPSHOT_25])
@pytest.mark.parametrize(
    ("values", "is_kept"),
    [
        ({}, True),
        ({"ask_price_2": 102.5}, False),  # above the third
        ({"ask_price_2": 100.5}, False),  # that of the first
        ({"bid_price_3": 99.7}, False),
        ({"bid_price_4": "", "bid_price_5": ""}, True),  # the book ends
        ({"ask_price_2": "", "ask_price_3": 100.4}, False),  # an empty level between
        ({"ask_price_2": "", "ask_price_3": 101.5}, True),
    ],
)
def test_levels_that_are_not_in_the_order_of_their_prices_are_kept_out(data_type, values, is_kept):
    table = RAW_TABLES[data_type]
    frame = grammar(table).parse(block(table, cells(table, **values)))
    kept, kept_out = split_rows(frame, table)
    assert kept.height == is_kept
    assert kept_out[REASON].to_list() == ([] if is_kept else [RuleName.UNSORTED_LEVELS])


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999"])
def test_a_number_that_is_none_is_kept_out(text):
    table = RAW_TABLES[DataType.QUOTES]
    frame = grammar(table).parse(block(table, cells(table, bid_price=text)))
    assert split_rows(frame, table)[1][REASON].to_list() == [RuleName.NOT_FINITE]


@pytest.mark.parametrize(("distance", "is_kept"), [(3_600_000_000, True), (3_600_000_001, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_may_be_an_hour_apart_and_no_more(distance, is_kept, sign):
    table = RAW_TABLES[DataType.TRADES]
    stamp = START + 5_000_000 + sign * distance
    frame = grammar(table).parse(block(table, cells(table, timestamp=stamp)))
    assert split_rows(frame, table)[0].height == is_kept


def test_a_wild_time_far_in_the_past_does_not_overflow():
    table = RAW_TABLES[DataType.TRADES]
    frame = grammar(table).parse(block(table, cells(table, timestamp=-62_135_596_800_000_000)))
    assert split_rows(frame, table)[1][REASON].to_list() == [RuleName.CLOCKS_APART]


def rules():
    return FileRules(table=RAW_TABLES[DataType.TRADES], day=DAY, subject="s")


def arrivals(*moments):
    table = RAW_TABLES[DataType.TRADES]
    rows = [cells(table, local_timestamp=START + moment) for moment in moments]
    return grammar(table).parse(block(table, *rows))


def test_arrivals_may_be_equal_and_reach_to_the_last_microsecond_of_the_day():
    last = rules().check(arrivals(0, 5, 5), None)
    assert last == START + 5
    assert rules().check(arrivals(5, US_PER_DAY - 1), last) == START + US_PER_DAY - 1
    assert rules().check(arrivals(1).clear(), last) == last


@pytest.mark.parametrize(
    ("moments", "previous", "rule"),
    [
        ((5, 4), None, RuleName.ARRIVAL_NON_DECREASING),
        ((4, 5), START + 6, RuleName.ARRIVAL_NON_DECREASING),
        ((-1, 5), None, RuleName.ARRIVAL_INSIDE_DAY),
        ((5, US_PER_DAY), None, RuleName.ARRIVAL_INSIDE_DAY),
        ((-START + 10**12,), None, RuleName.MICROSECOND_TIMES),
    ],
)
def test_a_wrong_arrival_is_said_with_the_rule(moments, previous, rule):
    with pytest.raises(CorruptData, match=rule):
        rules().check(arrivals(*moments), previous)


def test_a_short_line_is_not_made_good_by_a_long_one():
    table = RAW_TABLES[DataType.QUOTES]
    row = cells(table)
    for rows in ([row, row[:-1], [*row, "1"]], [row[:-1], [*row, "1"]], [[*row, "1"], row[:-1]]):
        with pytest.raises(CorruptData, match=r"cells|does not parse"):
            grammar(table).parse(block(table, *rows))


def test_the_header_is_the_exact_one():
    table = RAW_TABLES[DataType.TRADES]
    grammar(table).check_header(",".join(table.header).encode())
    for wrong in (b"", b"exchange", ",".join(table.header).encode() + b"\r"):
        with pytest.raises(CorruptData, match="another header"):
            grammar(table).check_header(wrong)


def test_a_file_waits_for_memory_only_while_others_work(tmp_path):
    order = []

    async def first(gate, is_admitted):
        async with gate.admitted(6 * 10**11):
            order.append("first")
            is_admitted.set()
            await asyncio.sleep(0.2)

    async def second(gate, may_ask):
        await may_ask.wait()
        async with gate.admitted(6 * 10**11):
            order.append("second")

    async def both():
        ledger = MemoryLedger(90, folder=tmp_path, memory=lambda: MemoryUse(10**12, 0))
        gate = MemoryGate(ledger, pause_s=0.001)
        async with asyncio.TaskGroup() as group:
            admitted = asyncio.Event()
            group.create_task(first(gate, admitted))
            group.create_task(second(gate, admitted))

        assert gate.waited_s >= 0.15

    asyncio.run(both())
    assert order == ["first", "second"]


def test_one_denied_symbol_does_not_speak_for_all():
    denial = NoEntitlement("s", "f", remedy="r")
    refusals = Refusals()
    for _ in range(2):
        refusals.note(denial)
    assert refusals.ending is None
    refusals.note_success()
    refusals.note(denial)
    assert refusals.ending is None
    lock = KeyLocked("s", "f", remedy="r")
    refusals.note(lock)
    assert refusals.ending is lock
