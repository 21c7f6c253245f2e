"""The state that a day of bars hands over: stored and read back, and what its hash stands for."""

from __future__ import annotations

import datetime as dt

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.candle_state_table import (
    CANDLE_STATE_TABLE,
    CandleState,
    Edge,
    candle_state_frame,
    candle_states,
)
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.venues import VenueId

DAY = dt.date(2024, 8, 8)

_hashes = st.text("0123456789abcdef", min_size=1, max_size=8)
_states = st.builds(
    CandleState,
    st.text(max_size=20),
    st.dictionaries(st.sampled_from(DataType), st.builds(Edge, _hashes, _hashes), max_size=4),
)


@given(st.dictionaries(st.text("ABC:-", min_size=1, max_size=6), _states, max_size=4))
def test_states_come_back_as_they_were_in_whatever_order_they_are_given(states):
    frame = candle_state_frame(DAY, VenueId.DERIBIT, states)
    assert frame.schema == CANDLE_STATE_TABLE.polars_schema
    assert candle_states(frame) == states
    turned = dict(reversed(states.items()))
    assert candle_state_frame(DAY, VenueId.DERIBIT, turned).equals(frame)
    assert frame["instrument_key"].is_sorted()


@given(_states, _states)
def test_equal_hashes_are_equal_memories_and_equal_ends(one, other):
    def seen(state):
        ends = {data_type: edge.rows_sha256 for data_type, edge in state.edges.items()}
        return state.memory, ends

    assert (one.sha256 == other.sha256) == (seen(one) == seen(other))
    assert (one.memory_sha256 == other.memory_sha256) == (one.memory == other.memory)


def test_an_end_vouches_only_for_the_file_it_was_cut_from():
    state = CandleState("{}", {DataType.TRADES: Edge("file", "rows")})
    assert state.edge_of(DataType.TRADES, "file") == "rows"
    assert state.edge_of(DataType.TRADES, "another file") is None
    assert state.edge_of(DataType.TRADES, None) is None
    assert state.edge_of(DataType.QUOTES, "file") is None


def test_states_of_another_version_or_form_are_as_if_not_there():
    frame = candle_state_frame(DAY, VenueId.DERIBIT, {"A": CandleState("{}", {})})
    assert set(candle_states(frame)) == {"A"}
    assert candle_states(frame.with_columns(kernel_version=pl.lit("another"))) == {}
    assert candle_states(frame.drop("kernel_version")) == {}


def test_no_state_is_an_empty_table():
    frame = candle_state_frame(DAY, VenueId.DERIBIT, {})
    assert frame.schema == CANDLE_STATE_TABLE.polars_schema
    assert candle_states(frame) == {}
