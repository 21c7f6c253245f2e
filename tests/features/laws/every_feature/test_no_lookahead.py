"""What a bar says when it is available, it says whatever comes after."""

from __future__ import annotations

import polars as pl
import pytest

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.features.registry import DELAYS_US
from tickhandler_dagster.market.timeframes import Timeframe

CHANNELS = (
    DataType.TRADES,
    DataType.QUOTES,
    DataType.BOOK_SNAPSHOT_5,
    DataType.DERIVATIVE_TICKER,
    DataType.LIQUIDATIONS,
)
LATE_BARS = 10
"""So many bars may at any moment still wait for a row that comes a minute late."""

# Seconds of the day: in the first bars, in a busy hour, in its burst, after the reported outage,
# and in the last bars.
MOMENTS = (17.3, 41_760.9, 42_371.017, 55_000.5, 86_341.2)


def columns_by_availability(frame, features):
    """The columns that each of the columns `available_at…` speaks for."""
    by_delay = {f"available_at_{delay // 1_000_000}s": delay for delay in DELAYS_US}
    found = {
        name: [name, *(one for one, entry in features.items() if entry.delay_us == delay)]
        for name, delay in by_delay.items()
    }
    late = {name for names in found.values() for name in names}
    return {"available_at": [name for name in frame.columns if name not in late]} | found


@pytest.fixture(params=[*MOMENTS, *CHANNELS], ids=str)
def moment(request, bars):
    """A moment, and an instrument: dated futures too, which look at the nearest one."""
    if request.param in CHANNELS:
        return bars.just_before_the_latest(request.param), "future"
    return bars.start_us + int(request.param * 1e6), "perpetual"


@pytest.mark.parametrize("future", ["known_at", "with_other_future"])
def test_a_bar_that_is_available_does_not_hang_on_what_arrives_later(
    bars, differing, features, future, moment
):
    moment, instrument = moment
    variant = getattr(bars, future)(moment, instrument)
    for timeframe, frame in bars.of_instrument(instrument).items():
        for available, names in columns_by_availability(frame, features).items():
            known = frame.filter(pl.col(available).to_physical() <= moment)
            same_bars = variant[timeframe].join(known.select("ts_open"), on="ts_open", how="semi")
            assert differing(known, same_bars, names) == {}, (timeframe, available)
            assert known.height >= (moment - bars.start_us) // timeframe.us - LATE_BARS


def test_every_column_is_spoken_for_once(bars, features):
    frame = bars.plain()[Timeframe.S15]
    named = [name for names in columns_by_availability(frame, features).values() for name in names]
    assert sorted(named) == sorted(frame.columns)


def test_the_cut_rows_do_matter(bars, differing):
    """The proof would prove nothing where the future changed nothing."""
    moment = bars.start_us + int(41_760.9 * 1e6)
    plain = bars.plain()[Timeframe.H1]
    other = bars.with_other_future(moment, "perpetual")[Timeframe.H1]
    changed = set(differing(plain, other))
    assert {"close", "volume"} <= changed


def test_a_bar_is_available_after_everything_that_arrived_for_it(bars):
    for frame in bars.plain().values():
        late = frame.filter(pl.col("last_arrival") >= pl.col("available_at"))
        assert late.height == 0


def test_every_delay_has_a_column_that_says_when_it_is_over(bars, features):
    columns = columns_by_availability(bars.plain()[Timeframe.S15], features)
    assert all(len(names) > 1 for names in columns.values())
