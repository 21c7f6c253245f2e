"""What a person reads of a surface partition: the check of its chain, its sums and its picture."""

from __future__ import annotations

import io
import math

import polars as pl
import pytest
from PIL import Image

from tickhandler_dagster.checks.outcomes import chain_outcome
from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.market.options_surface_manifest_table import surface_manifest_frame
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.pipeline.surface_inputs import OptionInput
from tickhandler_dagster.pipeline.surface_sums import surface_sums
from tickhandler_dagster.reporting.surface_pictures import LINES, SurfaceChart, draw_surfaces

LOST = OptionInput(
    instrument_key="DERIBIT:OPTION:BTC-USD-240816-60000-CALL",
    expiry_us=0,
    strike=60_000.0,
    is_call=True,
    pays_coin=True,
    contract_size=1.0,
    state=DataState.FAILED,
    reason="the request failed; the next run tries again",
    previous=None,
    own=None,
)


def test_options_without_rows_are_named_with_state_and_reason():
    outcome = chain_outcome([LOST], options=40)
    assert (outcome.name, outcome.has_passed) == (CheckName.COMPLETE, False)
    assert outcome.metadata["expected"].value == 40
    assert outcome.metadata["missing"].value == 1
    listing = outcome.metadata["missing options"].value
    assert all(text in listing for text in (LOST.instrument_key, "failed", LOST.reason))


def test_a_whole_chain_is_complete():
    outcome = chain_outcome([], options=40)
    assert outcome.has_passed
    assert "missing options" not in outcome.metadata


def test_a_partition_without_surfaces_sums_to_nothing():
    sums = surface_sums(surface_manifest_frame([]))
    assert (sums.rows, sums.raw_rows, sums.bytes, sums.is_simulated) == (0, 0, 0, False)
    assert sums.by_underlying.height == 0


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_picture_is_drawn_of_any_number_of_surfaces(count):
    hours = pl.datetime_range(
        pl.datetime(2024, 8, 8), pl.datetime(2024, 8, 8, 23), "1h", time_unit="us", eager=True
    )
    rows = pl.DataFrame({"ts_open": hours}).with_columns(
        [pl.Series(name, [0.6, None, math.nan] * 8, dtype=pl.Float64) for name in LINES]
    )
    png = draw_surfaces(
        "surfaces", [SurfaceChart(f"A{number}-USD", rows) for number in range(count)]
    )
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        assert len(png) < 60_000
