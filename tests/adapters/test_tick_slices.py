"""Reading raw tick files in slices of exchange time: exact however the rows are out of order."""

from __future__ import annotations

from itertools import chain, pairwise

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickhandler_dagster.adapters import tick_slices
from tickhandler_dagster.adapters.row_groups import TickFile
from tickhandler_dagster.adapters.tick_arrivals import arrival_slices, rows_before
from tickhandler_dagster.adapters.tick_slices import latest_rows_before, read_slices
from tickhandler_dagster.market.bars.grid import Span
from tickhandler_dagster.market.errors import CorruptData, InvalidSetting
from tickhandler_dagster.market.tables import TIMESTAMP

COLUMNS = ("timestamp", "local_timestamp", "price")
STEP = 10

_rows = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=60)


def write(path, rows, *, group_rows=5, **options):
    """Rows of (timestamp, local_timestamp) in microseconds; the price is the row's number."""
    frame = pl.DataFrame(
        {
            "timestamp": [at for at, _ in rows],
            "local_timestamp": [arrived for _, arrived in rows],
            "price": [float(number) for number in range(len(rows))],
        },
        schema={"timestamp": pl.Int64, "local_timestamp": pl.Int64, "price": pl.Float64},
    ).cast({"timestamp": TIMESTAMP, "local_timestamp": TIMESTAMP})
    pq.write_table(frame.to_arrow(), path, row_group_size=group_rows, **options)
    return TickFile(str(path), COLUMNS)


def times(frame):
    return frame["timestamp"].to_physical().to_list() if frame.height else []


@given(st.tuples(_rows, _rows), st.integers(1, 30), st.sampled_from([0, 7, 1_000]))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_of_the_span_comes_once_in_file_order_of_its_slice(
    tmp_path, monkeypatch, sources, slice_rows, kept_rows
):
    monkeypatch.setattr(tick_slices, "_KEPT_ROWS", kept_rows)
    files = [write(tmp_path / f"{number}.parquet", rows) for number, rows in enumerate(sources)]
    span = Span(100, 300)
    slices = list(read_slices(files, span, step_us=STEP, slice_rows=slice_rows))
    for number, rows in enumerate(sources):
        parts = [times(part[number]) for part in slices]
        assert sorted(chain.from_iterable(parts)) == sorted(at for at, _ in rows if 100 <= at < 300)
        for part in slices:
            prices = part[number]["price"].to_list() if part[number].height else []
            assert prices == sorted(prices)
    lasts = [max((max(times(part), default=-1) for part in parts), default=-1) for parts in slices]
    firsts = [
        min((min(times(part), default=999) for part in parts), default=999) for parts in slices
    ]
    for index, last in enumerate(lasts[:-1]):
        rest = min(firsts[index + 1 :])
        assert last // STEP < rest // STEP


@given(_rows, _rows, st.integers(0, 400))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_rows_before_a_moment_are_the_latest_of_all_files(tmp_path, first, second, moment):
    files = [
        write(tmp_path / f"{number}.parquet", rows) for number, rows in enumerate((first, second))
    ]
    earlier = [row for row in (*first, *second) if row[0] < moment]
    latest = max((at for at, _ in earlier), default=None)
    found = latest_rows_before(files, moment)
    arrivals = [] if found is None else found["local_timestamp"].to_physical().to_list()
    assert arrivals == [arrived for at, arrived in earlier if at == latest]
    assert found is None or set(times(found)) == {latest}


def test_ordered_files_are_read_once(tmp_path, monkeypatch):
    file = write(tmp_path / "ordered.parquet", [(at, at) for at in range(400)], group_rows=25)
    read = []
    whole = TickFile.read
    monkeypatch.setattr(
        TickFile, "read", lambda self, group: read.append(group.number) or whole(self, group)
    )
    slices = list(read_slices([file], Span(0, 400), step_us=STEP, slice_rows=100))
    assert [part[0].height for part in slices] == [100, 100, 100, 100]
    assert read == list(range(16))


def test_a_file_without_statistics_is_read_like_any_other(tmp_path):
    rows = [(at, at + 1) for at in range(0, 400, 3)]
    file = write(tmp_path / "plain.parquet", rows, write_statistics=False)
    slices = list(read_slices([file], Span(100, 300), step_us=STEP, slice_rows=20))
    assert sorted(chain.from_iterable(times(part[0]) for part in slices)) == [
        at for at, _ in rows if 100 <= at < 300
    ]
    assert times(latest_rows_before([file], 301)) == [300]


def test_a_span_without_row_groups_has_no_slices(tmp_path):
    file = write(tmp_path / "empty.parquet", [])
    assert list(read_slices([file], Span(0, 100), step_us=STEP)) == []


def test_a_file_that_is_not_parquet_is_corrupt(tmp_path):
    path = tmp_path / "cut.parquet"
    path.write_bytes(b"PAR1 no footer")
    with pytest.raises(CorruptData, match="cannot be read"):
        TickFile(str(path), COLUMNS)


def test_a_row_group_with_broken_bytes_is_corrupt(tmp_path):
    path = tmp_path / "broken.parquet"
    write(path, [(at, at) for at in range(400)], group_rows=400)
    data = bytearray(path.read_bytes())
    data[4:600] = bytes(596)
    path.write_bytes(data)
    with pytest.raises(CorruptData, match="cannot be read"):
        list(read_slices([TickFile(str(path), COLUMNS)], Span(0, 400), step_us=STEP))


def test_a_device_that_refuses_is_not_taken_for_broken_bytes(tmp_path):
    with pytest.raises(InvalidSetting, match="no such file"):
        TickFile(str(tmp_path / "nowhere.parquet"), COLUMNS)


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(1, 9))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arrivals_come_once_in_order_and_no_step_is_cut(tmp_path, arrivals, group_rows):
    arrived = sorted(arrivals)
    half = len(arrived) // 2
    files = [
        write(tmp_path / f"a{number}.parquet", [(at, at) for at in part], group_rows=group_rows)
        for number, part in enumerate((arrived[:half], arrived[half:]))
    ]
    slices = [times(part) for part in arrival_slices(files, Span(100, 300), step_us=STEP)]
    assert list(chain.from_iterable(slices)) == [at for at in arrived if 100 <= at < 300]
    for earlier, later in pairwise(slices):
        assert earlier[-1] // STEP < later[0] // STEP
    before = rows_before(files, 200, reach_us=50)
    assert (times(before) if before is not None else []) == [
        at for at in arrived if 150 <= at < 200
    ]


def test_the_first_row_of_a_file_is_marked_as_its_start(tmp_path):
    write(tmp_path / "marked.parquet", [(at, at) for at in range(20)])
    file = TickFile(str(tmp_path / "marked.parquet"), COLUMNS, marks_start=True)
    slices = list(read_slices([file], Span(0, 400), step_us=STEP, slice_rows=7))
    starts = [flag for part in slices for flag in part[0]["is_start"].to_list()]
    assert starts == [True] + [False] * 19
