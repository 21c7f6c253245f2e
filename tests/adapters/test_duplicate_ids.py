"""Repeated ids are found exactly, whatever the memory bound and whatever the hashes do."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.adapters import duplicate_ids
from tickhandler_dagster.adapters.duplicate_ids import IdWatch, repeated_rows

IDS = st.lists(st.none() | st.sampled_from([f"u{n}" for n in range(12)]) | st.text(), max_size=80)


def slow(ids):
    seen = set()
    found = []
    for name in ids:
        found.append(name is not None and name in seen)
        seen.add(name)
    return found


def fast(ids, folder, *, pass_rows, cut):
    watch = IdWatch(folder / "hashes", pass_rows=pass_rows)
    series = pl.Series("id", ids, dtype=pl.String)
    pieces = [series[:cut], series[cut:]]
    for piece in pieces:
        watch.observe(piece)
    found = repeated_rows(watch, lambda: iter(pieces), len(ids)).tolist()
    watch.close()
    assert list(folder.iterdir()) == []
    return found


@settings(max_examples=60)
@given(ids=IDS, pass_rows=st.integers(1, 40), cut=st.integers(0, 80))
def test_the_bounded_search_equals_a_set_of_ids(ids, pass_rows, cut, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ids")
    assert fast(ids, folder, pass_rows=pass_rows, cut=cut) == slow(ids)


@settings(max_examples=30)
@given(ids=IDS)
def test_colliding_hashes_are_no_duplicates(ids, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            duplicate_ids,
            "_hashes",
            lambda series: np.array([len(x or "") % 2 for x in series], dtype=np.uint64),
        )
        folder = tmp_path_factory.mktemp("ids")
        assert fast(ids, folder, pass_rows=7, cut=11) == slow(ids)


def test_ids_that_count_up_are_never_compared(tmp_path):
    watch = IdWatch(tmp_path / "h")
    watch.observe(pl.Series(["1", "2", None, "10"]))
    watch.observe(pl.Series(["11", "12"]))
    assert list(watch.suspects()) == []
    watch.observe(pl.Series(["12"]))
    assert len(list(watch.suspects())) == 1
    watch.close()
