"""Rows and instruments of a cell against earlier days, from what a lake holds of them."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from tickhandler_dagster.adapters.manifests import write_raw_manifest
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import FindingsFile, InstrumentsFile, RawTickFile
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.completeness import read_all_findings
from tickhandler_dagster.pipeline.count_audit import audit_counts

VENUE = VenueId.BINANCE_FUTURES
DATE = dt.date(2024, 8, 29)
CELL = VenueDay(DATE, VENUE)
BTC, ETH = (f"BINANCE-FUTURES:PERPETUAL:{name}-USDT" for name in ("BTC", "ETH"))
FUTURE = "BINANCE-FUTURES:FUTURE:BTC-USDT-240927"
USUAL = {BTC: 90_000, ETH: 60_000, FUTURE: 5_000}


def put_rows(lake, day, rows, *, data_type=DataType.TRADES, state=DataState.PRESENT):
    write_raw_manifest(
        lake,
        VenueDay(day, VENUE),
        data_type,
        [
            ManifestRow(
                date=day,
                venue=VENUE,
                data_type=data_type,
                instrument_key=key,
                tardis_symbol=key,
                source_symbol=key,
                state=state,
                kernel_version="1",
                is_simulated=False,
                source_rows=count,
                rows=count,
            )
            for key, count in rows.items()
        ],
    )


def put_universe(lake, day, keys, **changes):
    schema = INSTRUMENTS_TABLE.polars_schema
    rows = [
        dict.fromkeys(schema.names())
        | {
            "date": day,
            "instrument_key": key,
            "venue": VENUE.value,
            "instrument_type": key.split(":")[1],
            "contract_size": 1.0,
            "available_from": dt.datetime(2020, 1, 1, tzinfo=dt.UTC),
        }
        | changes.get(key, {})
        for key in keys
    ]
    frame = pl.DataFrame(rows, schema=schema)
    texts = [
        pl.col(column.name).fill_null("")
        for column in INSTRUMENTS_TABLE.columns
        if column.dtype == pl.String and not column.is_nullable
    ]
    flags = [pl.col(name).fill_null(value=False) for name in ("is_inverse", "is_quanto")]
    lake.write_table(
        InstrumentsFile(day, VENUE),
        frame.with_columns(
            *texts,
            *flags,
            pl.col("is_simulated").fill_null(value=False),
            pl.col("data_types").fill_null([]),
        ),
        INSTRUMENTS_TABLE,
    )


@pytest.fixture
def grown(lake):
    """Four usual weeks before the day."""
    for ago in range(1, 29):
        put_rows(lake, DATE - dt.timedelta(days=ago), USUAL)
    return lake


def said(findings):
    return {(one.source, one.instrument_key, one.rule): one.rows for one in findings}


def test_a_usual_day_raises_nothing_and_says_that_it_was_looked_at(grown):
    put_rows(grown, DATE, {key: round(rows * 1.3) for key, rows in USUAL.items()})
    assert audit_counts(grown, CELL) == []
    assert grown.exists(FindingsFile(DATE, VENUE, "counts"))
    assert grown.exists(FindingsFile(DATE, VENUE, "instruments"))


@pytest.mark.parametrize("factor", [0.2, 5])
def test_an_instrument_with_far_fewer_or_more_rows_is_found(grown, factor):
    put_rows(grown, DATE, USUAL | {ETH: round(USUAL[ETH] * factor)})
    found = audit_counts(grown, CELL)
    assert said(found) == {("trades", ETH, RuleName.UNUSUAL_ROW_COUNT): USUAL[ETH] * factor}
    assert read_all_findings(grown, CELL) == tuple(found)


def test_all_instruments_together_are_judged_closer_than_one(grown):
    put_rows(grown, DATE, {key: round(rows * 0.3) for key, rows in USUAL.items()})
    found = audit_counts(grown, CELL)
    assert said(found) == {("trades", "BINANCE-FUTURES", RuleName.UNUSUAL_ROW_COUNT): 46_500}


def test_a_file_that_came_empty_is_unusual_and_one_that_did_not_come_is_not_judged(grown):
    others = {key: rows for key, rows in USUAL.items() if key != ETH}
    put_rows(grown, DATE, {ETH: 0}, state=DataState.EMPTY)
    assert ("trades", ETH, RuleName.UNUSUAL_ROW_COUNT) in said(audit_counts(grown, CELL))
    put_rows(grown, DATE, {ETH: 0}, state=DataState.FAILED)
    assert audit_counts(grown, CELL) == []
    put_rows(grown, DATE, others)
    assert audit_counts(grown, CELL) == []


def test_dated_instruments_new_ones_and_those_that_end_are_not_judged_alone(grown):
    new = "BINANCE-FUTURES:PERPETUAL:NEW-USDT"
    put_universe(
        grown,
        DATE,
        [BTC, ETH, FUTURE, new],
        **{ETH: {"available_to": dt.datetime(2024, 8, 29, 9, tzinfo=dt.UTC)}},
    )
    put_rows(grown, DATE, USUAL | {ETH: 9_000, FUTURE: 50, new: 1_000_000})
    assert audit_counts(grown, CELL) == []


def test_three_earlier_days_are_enough_and_two_are_not(lake):
    put_rows(lake, DATE, {BTC: 900})
    for ago in (2, 5):
        put_rows(lake, DATE - dt.timedelta(days=ago), USUAL)
    assert audit_counts(lake, CELL) == []
    put_rows(lake, DATE - dt.timedelta(days=7), USUAL)
    assert said(audit_counts(lake, CELL)) == {
        ("trades", BTC, RuleName.UNUSUAL_ROW_COUNT): 900,
        ("trades", "BINANCE-FUTURES", RuleName.UNUSUAL_ROW_COUNT): 900,
    }


def test_every_data_type_is_judged_by_itself_and_no_tick_is_read(grown, monkeypatch):
    for ago in range(8):
        rows = {BTC: 10 if ago == 0 else 1_000}
        put_rows(grown, DATE - dt.timedelta(days=ago), rows, data_type=DataType.QUOTES)
    put_rows(grown, DATE, USUAL)
    read = []
    kept = grown.read_table

    def watched(item, *, columns=None):
        read.append(item)
        return kept(item, columns=columns)

    monkeypatch.setattr(grown, "read_table", watched)
    assert {source for source, _, _ in said(audit_counts(grown, CELL))} == {"quotes"}
    assert not [item for item in read if isinstance(item, RawTickFile)]


def test_a_listing_that_lost_instruments_and_contracts_without_terms_are_found(lake):
    keys = [f"BINANCE-FUTURES:PERPETUAL:C{number}-USDT" for number in range(20)]
    put_universe(lake, DATE - dt.timedelta(days=1), keys)
    put_universe(lake, DATE, keys[:12], **{keys[3]: {"contract_size": None}})
    found = audit_counts(lake, CELL)
    assert said(found) == {
        ("instruments", "BINANCE-FUTURES", RuleName.UNUSUAL_INSTRUMENT_COUNT): 8,
        ("instruments", keys[3], RuleName.NO_CONTRACT_TERMS): 1,
    }
    assert found[0].sample == "12 PERPETUAL listed, 20 the day before"
    put_universe(lake, DATE, keys)
    assert audit_counts(lake, CELL) == []
    assert read_all_findings(lake, CELL) == ()
