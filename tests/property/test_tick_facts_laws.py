"""Facts of parts add up to the facts of the whole, and rows survive the footer."""

from __future__ import annotations

import dataclasses
import datetime as dt

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.adapters.manifest_json import row_from_json, row_to_json
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_DAY, day_start_us
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.states import INGEST_STATES
from tickhandler_dagster.market.tables import TIMESTAMP
from tickhandler_dagster.market.tick_facts import TickFacts, facts_of
from tickhandler_dagster.market.venues import VenueId

DAY = dt.date(2024, 8, 8)
START = day_start_us(DAY)
CLOCK = st.integers(START - 10, START + 10) | st.integers(
    START + US_PER_DAY - 10, START + US_PER_DAY + 10
)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MOMENT = st.none() | st.integers(0, 2**51).map(lambda us: EPOCH + dt.timedelta(microseconds=us))


def frame_of(rows):
    return pl.DataFrame(
        rows, schema={"timestamp": pl.Int64, "local_timestamp": pl.Int64}, orient="row"
    ).cast(TIMESTAMP)


@given(rows=st.lists(st.tuples(CLOCK, CLOCK), max_size=30), cut=st.integers(0, 30))
def test_facts_of_parts_add_up(rows, cut):
    whole = facts_of(frame_of(rows), DAY)
    assert facts_of(frame_of(rows[:cut]), DAY) + facts_of(frame_of(rows[cut:]), DAY) == whole
    assert whole + TickFacts() == whole
    assert whole.rows_before_day == sum(exchange < START for exchange, _ in rows)
    assert whole.rows_after_day == sum(exchange >= START + US_PER_DAY for exchange, _ in rows)


@given(
    count=st.integers(0, 2**60),
    text=st.none() | st.text(),
    state=st.sampled_from(INGEST_STATES),
    moments=st.tuples(*[MOMENT] * 6),
)
def test_a_row_survives_the_footer(count, text, state, moments):
    names = [
        field.name for field in dataclasses.fields(ManifestRow) if "datetime" in str(field.type)
    ]
    row = ManifestRow(
        date=DAY,
        venue=VenueId.DERIBIT,
        data_type=DataType.TRADES,
        instrument_key="DERIBIT:PERPETUAL:BTC-USD",
        tardis_symbol="BTC-PERPETUAL",
        source_symbol="BTC-PERPETUAL",
        state=state,
        reason=text,
        kernel_version="1",
        is_simulated=True,
        rows=count,
        **dict(zip(names, moments, strict=True)),
    )
    assert row_from_json(row_to_json(row)) == row
    assert row_from_json('{"date": "2024-08-08"}') is None
