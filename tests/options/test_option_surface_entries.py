"""The entries of the option surface are complete, and the table and the candles hold them."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from tickhandler_dagster.market.features.feature import Channel, Merge
from tickhandler_dagster.market.features.option_surface_entries import OPTION_SURFACE
from tickhandler_dagster.market.features.surface import SURFACE
from tickhandler_dagster.market.options_surface_table import OPTIONS_SURFACE_TABLE, surface_frame
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId

LONGEST_FORMULA = 200
BY_NAME = {entry.name: entry for entry in OPTION_SURFACE}


@pytest.mark.parametrize("entry", [*OPTION_SURFACE, *SURFACE], ids=lambda one: one.name)
def test_an_entry_is_one_sentence_with_source_oracle_and_state_at_the_end(entry):
    assert 0 < len(entry.formula) <= LONGEST_FORMULA
    assert entry.formula.endswith(".")
    assert entry.source
    assert entry.oracle
    assert entry.inputs == (Channel.OPTIONS,)
    assert entry.merge is Merge.LAST
    assert not entry.mirror, "taker sides are not in the chain"


def test_names_are_unique_and_all_of_them_are_columns():
    assert len(BY_NAME) == len(OPTION_SURFACE)
    assert OPTIONS_SURFACE_TABLE.names[-len(OPTION_SURFACE) :] == list(BY_NAME)


def test_candles_hold_entries_of_the_surface_and_the_venue_of_the_chain():
    for entry in SURFACE[:-1]:
        assert replace(entry, null_rule="") == replace(BY_NAME[entry.name], null_rule="")
        assert entry.null_rule.startswith("no option surface of the base asset")
    assert (SURFACE[-1].name, SURFACE[-1].dtype) == ("surface_venue", pl.String())


def test_names_of_the_earlier_system_say_what_changed():
    for name in ("atm_mark_iv", "skew_25d_put_call_ratio"):
        assert BY_NAME[name].earlier_meaning


@pytest.mark.parametrize("timeframe", Timeframe)
def test_disordered_chains_obey_the_table(chains, timeframe):
    moments = [chains.START + (number + 1) * 15_000_000 for number in range(5_760)]
    frame = surface_frame(
        chains.surface(chains.disordered(7), moments),
        venue=VenueId.DERIBIT,
        underlying="BTC-USD",
        start_us=chains.START,
        timeframe=timeframe,
    )
    assert frame.height == timeframe.bars_per_day
    assert SchemaCheck(OPTIONS_SURFACE_TABLE).run([("BTC-USD", frame)]).failures == []
    assert (frame["available_at"] > frame["ts_close"]).all()
