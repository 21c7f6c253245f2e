"""Which files a raw partition asks for: groups, kept rows, days that are not out."""

from __future__ import annotations

import dataclasses
import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.catalog import DatasetSymbol, ExchangeCatalog
from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.instruments_table import INSTRUMENT_TYPES
from tickhandler_dagster.market.planning import (
    GROUPING,
    ExpectedInstrument,
    plan_raw_files,
    unfetched_row,
)
from tickhandler_dagster.market.restriction import Restriction, parse_instrument_type
from tickhandler_dagster.market.states import INGEST_STATES, DataState
from tickhandler_dagster.market.venues import VenueId

DAY = dt.date(2024, 8, 8)
CELL = VenueDay(DAY, VenueId.DERIBIT)
START = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)
LATE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

KINDS = {"BTC-PERPETUAL": "PERPETUAL", "ETH-PERPETUAL": "PERPETUAL", "BTC-27SEP24": "FUTURE",
         "BTC-9AUG24-60000-C": "OPTION", "BTC-9AUG24-60000-P": "OPTION"}  # fmt: skip
TYPES = [str(data_type) for data_type in DataType if data_type is not DataType.OPTIONS_CHAIN]

UNIVERSE = pl.DataFrame(
    [
        {
            "instrument_key": f"DERIBIT:{kind}:{name}",
            "tardis_symbol": name,
            "instrument_type": kind,
            "data_types": TYPES,
            "is_simulated": False,
        }
        for name, kind in KINDS.items()
    ]
)


def catalog(*groups, until=LATE):
    return ExchangeCatalog(
        venue=VenueId.DERIBIT,
        name="Deribit",
        available_since=START,
        exported_from=START,
        exported_until=until,
        symbols=(),
        groups=tuple(
            DatasetSymbol(group, "", START, None, tuple(DataType), group) for group in groups
        ),
        incidents=(),
        is_simulated=False,
    )


def plan(data_type, *, groups=tuple(GroupSymbol), manifest=(), until=LATE, **again):
    return plan_raw_files(
        CELL,
        data_type,
        universe=UNIVERSE,
        catalog=catalog(*groups, until=until),
        manifest=manifest,
        **again,
    )


def rows(state, names=tuple(KINDS), data_type=DataType.TRADES):
    return [
        unfetched_row(
            CELL,
            data_type,
            ExpectedInstrument(
                f"DERIBIT:{KINDS[name]}:{name}", name, KINDS[name], is_simulated=False
            ),
            source_symbol=name,
            state=state,
            reason="r",
        )
        for name in names
    ]


def test_the_grouping_policy_is_total():
    assert set(GROUPING) == set(DataType)
    for by_kind in GROUPING.values():
        assert set(by_kind) <= set(INSTRUMENT_TYPES)


@pytest.mark.parametrize("data_type", list(DataType))
@pytest.mark.parametrize("force", [False, True])
@given(
    groups=st.sets(st.sampled_from(GroupSymbol)),
    states=st.dictionaries(st.sampled_from(sorted(KINDS)), st.sampled_from(INGEST_STATES)),
)
def test_every_expected_instrument_is_planned_once(data_type, force, groups, states):
    manifest = [row for name, state in states.items() for row in rows(state, (name,), data_type)]
    made = plan(data_type, groups=groups, manifest=manifest, force=force)
    keys = [item.instrument_key for job in made.jobs for item in job.instruments]
    keys += [row.instrument_key for row in made.decided]
    expected = UNIVERSE
    if data_type is DataType.OPTIONS_CHAIN:
        expected = UNIVERSE.filter(pl.col("instrument_type") == "OPTION")
    assert sorted(keys) == sorted(expected["instrument_key"])
    for job in made.jobs:
        assert job.is_grouped == (job.source_symbol in set(GroupSymbol))
        assert job.is_grouped or len(job.instruments) == 1


def test_options_trade_in_one_file_and_the_rest_in_their_own():
    sources = [job.source_symbol for job in plan(DataType.TRADES).jobs]
    assert sources == ["OPTIONS", "BTC-27SEP24", "BTC-PERPETUAL", "ETH-PERPETUAL"]


def test_derivative_tickers_come_by_group_only_where_the_vendor_has_it():
    made = plan(DataType.DERIVATIVE_TICKER, groups=(GroupSymbol.PERPETUALS,))
    assert [job.source_symbol for job in made.jobs if job.is_grouped] == ["PERPETUALS"]
    assert "BTC-27SEP24" in [job.source_symbol for job in made.jobs]


def test_a_chain_without_a_grouped_file_is_not_listed():
    made = plan(DataType.OPTIONS_CHAIN, groups=())
    assert made.jobs == ()
    assert {row.state for row in made.decided} == {DataState.NOT_LISTED}


def test_any_instrument_of_a_grouped_file_brings_the_file_again_and_no_other():
    present = rows(DataState.PRESENT)
    option = next(key for key in UNIVERSE["instrument_key"] if ":OPTION:" in key)
    made = plan(DataType.TRADES, manifest=present, again=[option])
    assert [job.source_symbol for job in made.jobs] == ["OPTIONS"]
    assert len(made.decided) == UNIVERSE.height - len(made.jobs[0].instruments)


def test_settled_rows_are_kept_and_force_asks_for_all():
    present = rows(DataState.PRESENT)
    assert plan(DataType.TRADES, manifest=present).jobs == ()
    assert plan(DataType.TRADES, manifest=present).kept == len(KINDS)
    assert len(plan(DataType.TRADES, manifest=present, force=True).jobs) == 4


@pytest.mark.parametrize("state", [state for state in INGEST_STATES if state.is_missing])
def test_missing_rows_are_asked_for_again(state):
    manifest = [*rows(DataState.PRESENT)[1:], *rows(state, ("BTC-PERPETUAL",))]
    jobs = plan(DataType.TRADES, manifest=manifest).jobs
    assert [job.source_symbol for job in jobs] == ["BTC-PERPETUAL"]


def test_one_missing_option_brings_the_group_with_all_its_options():
    manifest = rows(DataState.PRESENT, tuple(name for name in KINDS if name[-1] != "P"))
    jobs = plan(DataType.TRADES, manifest=manifest).jobs
    assert [job.source_symbol for job in jobs] == ["OPTIONS"]
    assert len(jobs[0].instruments) == 2


def test_a_day_that_is_not_out_keeps_what_is_there_and_asks_for_nothing():
    until = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
    present = rows(DataState.PRESENT, ("BTC-PERPETUAL",))
    made = plan(DataType.TRADES, manifest=present, until=until)
    assert made.jobs == ()
    states = {row.tardis_symbol: row.state for row in made.decided}
    assert states.pop("BTC-PERPETUAL") is DataState.PRESENT
    assert set(states.values()) == {DataState.NOT_EXPORTED_YET}


def test_the_largest_file_of_the_last_run_comes_first():
    failed = rows(DataState.FAILED)
    sizes = {"BTC-27SEP24": 5, "BTC-PERPETUAL": 50, "ETH-PERPETUAL": 20}
    manifest = [
        dataclasses.replace(row, source_bytes=sizes.get(row.tardis_symbol, 1)) for row in failed
    ]
    sources = [job.source_symbol for job in plan(DataType.TRADES, manifest=manifest).jobs]
    assert sources == ["OPTIONS", "BTC-PERPETUAL", "ETH-PERPETUAL", "BTC-27SEP24"]


RESTRICTIONS = st.builds(
    Restriction,
    st.frozensets(st.sampled_from([parse_instrument_type(kind) for kind in INSTRUMENT_TYPES])),
    st.integers(0, 6),
)


@pytest.mark.parametrize("data_type", list(DataType))
@given(
    groups=st.sets(st.sampled_from(GroupSymbol)),
    states=st.dictionaries(st.sampled_from(sorted(KINDS)), st.sampled_from(INGEST_STATES)),
    restriction=RESTRICTIONS,
    force=st.booleans(),
)
def test_a_restricted_run_speaks_of_every_instrument_once_and_hides_none(
    data_type, groups, states, restriction, force
):
    manifest = [row for name, state in states.items() for row in rows(state, (name,), data_type)]
    usual = plan(data_type, groups=groups, manifest=manifest, force=force)
    made = plan(data_type, groups=groups, manifest=manifest, force=force, restriction=restriction)
    assert set(made.jobs) <= set(usual.jobs)
    keys = [item.instrument_key for job in made.jobs for item in job.instruments]
    keys += [row.instrument_key for row in made.decided]
    assert len(keys) == len(set(keys))
    before = {row.instrument_key: row for row in manifest}
    not_asked = {item.instrument_key for job in usual.jobs for item in job.instruments} - {
        item.instrument_key for job in made.jobs for item in job.instruments
    }
    decided = {row.instrument_key: row for row in made.decided}
    for key in not_asked:
        known = before.get(key)
        if known is not None and known.state is not DataState.NOT_INGESTED:
            assert decided[key] == known
        else:
            assert decided[key].state is DataState.NOT_INGESTED
            assert decided[key].state.is_missing
            assert "restricted" in decided[key].reason


def test_a_second_restricted_run_takes_the_same_instruments():
    one = Restriction(max_instruments=1)
    first = plan(DataType.QUOTES, groups=(), restriction=one)
    key = first.jobs[0].instruments[0].instrument_key
    taken = rows(DataState.PRESENT, (key.rpartition(":")[2],), DataType.QUOTES)
    rest = [row for row in first.decided if row.state is DataState.NOT_INGESTED]
    again = plan(DataType.QUOTES, groups=(), manifest=[*taken, *rest], restriction=one)
    assert again.jobs == ()
    assert {row.instrument_key for row in again.decided} == set(UNIVERSE["instrument_key"])


def test_what_is_asked_for_by_name_is_fetched_whatever_the_restriction():
    key = UNIVERSE["instrument_key"][0]
    made = plan(
        DataType.TRADES,
        manifest=rows(DataState.PRESENT),
        again=[key],
        restriction=Restriction(frozenset({parse_instrument_type("option")})),
    )
    assert [item.instrument_key for job in made.jobs for item in job.instruments] == [key]
