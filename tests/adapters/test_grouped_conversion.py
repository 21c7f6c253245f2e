"""A grouped file becomes one file per instrument, however its rows wait in between."""

from __future__ import annotations

import gzip

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.adapters.grouped_conversion import convert_grouped_file
from tickhandler_dagster.adapters.symbol_buckets import BucketLimits
from tickhandler_dagster.adapters.tick_conversion import convert_tick_file
from tickhandler_dagster.adapters.tick_writer import TickIdentity
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId

NAMES = tuple(f"BTC-9AUG24-{strike}-C" for strike in range(50_000, 50_012))
SMALL = BucketLimits(buffer_bytes=2_000, bucket_bytes=3_000, max_buckets=4)


HOT = BucketLimits(buffer_bytes=1_000, bucket_bytes=100, max_buckets=2)
"""Buckets that are never loaded whole."""


def identities(files, source="OPTIONS"):
    return [
        TickIdentity(
            date=files.day,
            venue=VenueId.DERIBIT,
            data_type=DataType.TRADES,
            instrument_key=f"DERIBIT:OPTION:{name}",
            tardis_symbol=name,
            source_symbol=source,
            is_simulated=False,
        )
        for name in NAMES
    ]


def lines_of(files, picks):
    return [
        files.trade(n, venue="deribit", symbol=NAMES[pick] if pick < 11 else "STRANGER")
        for n, pick in enumerate(picks)
    ]


def convert(folder, files, lines, **options):
    folder.mkdir()
    source = folder / "s.csv.gz"
    source.write_bytes(gzip.compress(files.text(lines), mtime=0))
    out = folder / "out"
    out.mkdir()
    return convert_grouped_file(source, out, identities(files), **options), out


@pytest.mark.parametrize("limits", [SMALL, HOT])
@settings(max_examples=12)
@given(
    picks=st.lists(st.integers(0, 12) | st.just(3), min_size=1, max_size=60),
    repeats=st.sampled_from([1, 10]),
)
def test_memory_or_disk_gives_the_same_bytes_and_loses_no_row(
    limits, picks, repeats, files, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("g")
    picks *= repeats
    lines = lines_of(files, picks)
    memory, _ = convert(folder / "m", files, lines)
    disk, out = convert(folder / "d", files, lines, limits=limits, block_bytes=1500)
    assert [one.row for one in memory.ticks] == [one.row for one in disk.ticks]
    for one, other in zip(memory.ticks, disk.ticks, strict=True):
        assert (one.ticks is None) == (other.ticks is None)
        if one.ticks is not None:
            assert one.ticks.read_bytes() == other.ticks.read_bytes()
    rows = sum(one.row.source_rows for one in disk.ticks)
    assert rows + disk.unexpected_rows == len(picks)
    assert disk.unexpected_rows == memory.unexpected_rows == sum(pick >= 11 for pick in picks)
    assert not list(out.glob("bucket*"))


def test_each_instrument_keeps_the_order_of_the_file(files, tmp_path):
    picks = [n * 7 % 11 for n in range(300)]
    lines = lines_of(files, picks)
    done, _ = convert(tmp_path / "g", files, lines, limits=SMALL)
    for place, one in enumerate(done.ticks[:11]):
        ids = [str(1000 + n) for n, pick in enumerate(picks) if pick == place]
        assert pl.read_parquet(one.ticks)["id"].to_list() == ids
    assert done.ticks[11].row.state is DataState.EMPTY


def test_an_instrument_out_of_a_group_equals_the_one_out_of_its_own_file(files, tmp_path):
    lines = lines_of(files, [0] * 40)
    grouped, _ = convert(tmp_path / "g", files, lines)
    single = convert_tick_file(tmp_path / "g" / "s.csv.gz", tmp_path, identities(files)[0])
    assert pl.read_parquet(grouped.ticks[0].ticks).equals(pl.read_parquet(single.ticks))
    assert grouped.ticks[0].row.rows == single.row.rows == 40


def test_ids_repeat_only_within_an_instrument(files, tmp_path):
    lines = [files.trade(n, venue="deribit", symbol=NAMES[n % 2], id="same") for n in range(6)]
    done, _ = convert(tmp_path / "g", files, lines)
    assert [one.row.rows for one in done.ticks[:2]] == [1, 1]
    assert [one.row.duplicate_rows for one in done.ticks[:2]] == [2, 2]


@pytest.mark.parametrize("shape", ["nothing", "gzip of nothing", "header"])
def test_an_empty_group_is_empty_for_all(files, tmp_path, shape):
    data = {"nothing": b"", "gzip of nothing": gzip.compress(b""), "header": files.gz([])}[shape]
    (tmp_path / "s").write_bytes(data)
    done = convert_grouped_file(tmp_path / "s", tmp_path, identities(files))
    assert {one.row.state for one in done.ticks} == {DataState.EMPTY}


def test_a_group_with_a_damaged_end_leaves_nothing(files, tmp_path):
    data = gzip.compress(files.text(lines_of(files, [n % 12 for n in range(500)])))
    (tmp_path / "s").write_bytes(data[:-6])
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(CorruptData, match="cut"):
        convert_grouped_file(tmp_path / "s", out, identities(files), limits=SMALL, block_bytes=2000)
    assert list(out.iterdir()) == []


def test_rows_of_another_exchange_condemn_the_group(files, tmp_path):
    lines = [*lines_of(files, [0, 1]), files.trade(3, venue="okex", symbol=NAMES[0])]
    with pytest.raises(CorruptData, match="another exchange"):
        convert(tmp_path / "g", files, lines)
