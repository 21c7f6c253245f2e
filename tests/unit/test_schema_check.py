"""The check derived from a table reports every failure with its subject, count and sample."""

import datetime as dt
import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickhandler_dagster.market import schema_check
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.schema_check import SchemaCheck
from tickhandler_dagster.market.tables import TIMESTAMP, Bounds, Column, RowRule, Table

TABLE = Table(
    name="bars",
    grain="one bar",
    columns=(
        Column("at", TIMESTAMP, "Time."),
        Column("low", pl.Float64(), "Low.", bounds=Bounds(gt=0)),
        Column("high", pl.Float64(), "High.", is_nullable=True),
        Column("side", pl.String(), "Side.", bounds=Bounds(one_of=("buy", "sell"))),
    ),
    rules=(RowRule("low is not above high", pl.col("low") <= pl.col("high")),),
    sorted_by="at",
)
START = dt.datetime(2024, 8, 8, tzinfo=dt.UTC)


def _frame(**changes):
    columns = {
        "at": [START + dt.timedelta(seconds=second) for second in range(4)],
        "low": [1.0, 2.0, 3.0, 4.0],
        "high": [2.0, None, 3.0, 5.0],
        "side": ["buy", "sell", "buy", "sell"],
    } | changes
    return pl.DataFrame(columns, schema=TABLE.polars_schema)


def _found(frames):
    report = SchemaCheck(TABLE).run(frames)
    return {(f.subject, f.column, f.rule): (f.rows, f.sample) for f in report.failures}


def test_a_good_frame_passes_and_its_rows_are_counted():
    report = SchemaCheck(TABLE).run([("A", _frame()), ("B", _frame())])
    assert report.has_passed
    assert report.rows == 8


def test_all_failures_of_all_frames_are_reported_at_once():
    found = _found(
        [
            ("good", _frame()),
            ("bounds", _frame(low=[0.0, -1.0, 3.0, 4.0], side=["buy", "none", "buy", "sell"])),
            ("order", _frame(at=[START, START, START - dt.timedelta(seconds=1), START])),
            ("rule", _frame(low=[9.0, 2.0, 3.0, 9.0])),
            ("nan", _frame(high=[float("nan"), None, 3.0, 5.0])),
        ]
    )
    assert found[("bounds", "low", "greater_than(0)")] == (2, ("0.0", "-1.0"))
    assert found[("bounds", "side", "isin(['buy', 'sell'])")] == (1, ("none",))
    assert found[("order", "bars", "at_never_decreases")][0] == 1
    assert found[("rule", "bars", "low is not above high")][0] == 2
    assert found[("nan", "high", "null_never_nan")][0] == 1
    assert {subject for subject, _, _ in found} == {"bounds", "order", "rule", "nan"}


def test_a_frame_may_start_before_the_one_before_it_ends():
    later = _frame(at=[START + dt.timedelta(days=1, seconds=s) for s in range(4)])
    assert not _found([("A", later), ("B", _frame())])


@pytest.mark.parametrize(
    "broken", [_frame().drop("side"), _frame().with_columns(pl.col("low").cast(pl.Float32))]
)
def test_a_missing_column_or_a_wrong_type_names_its_subject(broken):
    found = _found([("good", _frame()), ("broken", broken)])
    assert {subject for subject, _, _ in found} == {"broken"}


def test_more_columns_than_the_table_has_is_a_failure():
    assert _found([("wide", _frame().with_columns(extra=pl.lit(1)))])


def test_how_frames_are_batched_changes_nothing(monkeypatch):
    frames = [("A", _frame(low=[-1.0] * 4)), ("B", _frame()), ("C", _frame(low=[-2.0] * 4))]
    together = _found(frames)
    monkeypatch.setattr(schema_check, "BATCH_CELLS", 16)
    assert _found(frames) == together
    assert together[("C", "low", "greater_than(0)")] == (4, ("-2.0",) * 4)


@pytest.mark.parametrize("data_type", DataType)
def test_an_empty_frame_of_every_raw_table_passes(data_type):
    table = RAW_TABLES[data_type].stored
    report = SchemaCheck(table).run([("A", pl.DataFrame(schema=table.polars_schema))])
    assert report.has_passed


_values = {
    "low": st.sampled_from([1.0, 0.0, -1.0, math.nan, None]),
    "high": st.sampled_from([2.0, 0.5, math.nan, None]),
    "side": st.sampled_from(["buy", "sell", "none", None]),
}
_moments = st.sampled_from([START, START + dt.timedelta(seconds=1), None])


@given(
    st.lists(
        st.lists(st.tuples(_moments, _values["low"], _values["high"], _values["side"]), max_size=4),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=60)
def test_the_look_at_all_columns_at_once_agrees_with_pandera(rows):
    frames = [
        (str(number), pl.DataFrame(part, schema=TABLE.polars_schema, orient="row"))
        for number, part in enumerate(rows)
    ]
    looked = SchemaCheck(TABLE).run(frames)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema_check, "_is_clean", lambda *_: False)
        asked = SchemaCheck(TABLE).run(frames)
    assert looked == asked
