"""Raw ticks of the lake played into a spool: the rows of all days and instruments, once each."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tickhandler_dagster.adapters.spool import SPOOL_START
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.paths import RawTickFile
from tickhandler_dagster.streaming.replay import ReplayFeed, ReplayOptions
from tickhandler_dagster.streaming.replay_sources import lake_days

OTHER = "BINANCE-FUTURES:PERPETUAL:ETH-USDT"
TYPES = (DataType.TRADES, DataType.BOOK_SNAPSHOT_5, DataType.DERIVATIVE_TICKER)


def cells(lab):
    return [VenueDay(day, lab.venue) for day in (lab.one, lab.two)]


def spooled(root, venue, data_type):
    reader = SpoolReader(root)
    frame, _ = reader.tail(venue, data_type, SPOOL_START)
    assert reader.dead_lines == 0
    return frame


@pytest.mark.parametrize("symbols", [None, {OTHER}])
def test_days_and_instruments_of_the_lake_are_played_whole(lab, tmp_path, symbols):
    expected = {data_type: [] for data_type in TYPES}
    for day in (lab.one, lab.two):
        for seed, key in enumerate((lab.key, OTHER)):
            frames = lab.put_market(day, *TYPES, key=key, seed=seed)
            for data_type in TYPES:
                if symbols is None or key in symbols:
                    expected[data_type].append(
                        frames[data_type].select(pl.lit(key).alias("symbol"), pl.all())
                    )
    source = lake_days(lab.lake, cells(lab), (*TYPES, DataType.QUOTES), symbols=symbols)
    ReplayFeed(source, tmp_path / "spool", options=ReplayOptions(speed=None)).run()
    for data_type in TYPES:
        found = spooled(tmp_path / "spool", lab.venue, data_type)
        assert found["local_timestamp"].is_sorted()
        whole = pl.concat(expected[data_type]).sort("local_timestamp", maintain_order=True)
        order = ["local_timestamp", "symbol"]
        assert_frame_equal(
            found.sort(order, maintain_order=True),
            whole.sort(order, maintain_order=True),
            check_exact=True,
        )


def test_a_file_that_the_manifest_names_and_is_gone_is_named(lab, tmp_path):
    lab.put_market(lab.one, DataType.TRADES)
    source = lake_days(lab.lake, cells(lab), [DataType.TRADES])
    lab.lake.delete(RawTickFile(lab.one, DataType.TRADES, lab.key))
    with pytest.raises(MissingUpstream, match="the manifest names it"):
        ReplayFeed(source, tmp_path / "spool", options=ReplayOptions(speed=None)).run()


def test_a_lake_without_ticks_has_nothing_to_play(lab):
    with pytest.raises(MissingUpstream, match="the lake: nothing to play"):
        lake_days(lab.lake, cells(lab), TYPES)
