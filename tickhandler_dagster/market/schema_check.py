"""The Pandera check of a stored table, derived from its `Table`.

What belongs here: deriving the schema, running it over frames so that every failure is counted, and
putting the counts together. Reading files is the adapters' work, severity and blocking are
`checks/`. Pandera is imported where it is used: its import costs seconds that nothing else should
pay.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tickhandler_dagster.market.tables import Column, RowRule, Table

if TYPE_CHECKING:
    import pandera.polars as pa

SAMPLE_SIZE = 5
# A validation has a fixed price, so small frames share one; cells and not rows, because candles are
# fifty times as wide as trades.
BATCH_CELLS = 12_000_000

_ORDER = "never_decreases"


@dataclass(frozen=True, slots=True)
class SchemaFailure:
    """A rule that rows break.

    Attributes:
        subject: The instrument or file the rows are of.
        column: The column, or the table's name for a rule between columns.
        rule: What should hold.
        rows: How many rows break it.
        sample: A few of the values found.
    """

    subject: str
    column: str
    rule: str
    rows: int
    sample: tuple[str, ...]


@dataclass(slots=True)
class SchemaReport:
    """Failures of a table over all frames that were checked.

    Attributes:
        rows: Rows looked at.
        failures: One entry per (subject, column, rule).
    """

    rows: int = 0
    failures: list[SchemaFailure] = field(default_factory=list)

    @property
    def has_passed(self) -> bool:
        """No rule was broken."""
        return not self.failures


@dataclass(frozen=True, slots=True)
class _Batch:
    """Frames of one form that are validated together, and where each of them starts."""

    subjects: Sequence[str]
    starts: Sequence[int]
    frame: pl.DataFrame

    def subject_of(self, row: int) -> str:
        return self.subjects[int(np.searchsorted(self.starts, row, side="right")) - 1]


class SchemaCheck:
    """Checks frames of one table.

    Pandera asks every column on its own, which at the width of a candle costs a second a frame.
    One query over all columns tells whether there is anything to ask; Pandera says what it is. That
    both agree is a law in the tests.

    Example:
        >>> from tickhandler_dagster.market.tables import Bounds, Column, Table
        >>> price = Column("price", pl.Float64(), "Price.", bounds=Bounds(gt=0))
        >>> check = SchemaCheck(Table("trades", "one trade", (price,)))
        >>> report = check.run([("BTC", pl.DataFrame({"price": [1.0, -2.0, -3.0]}))])
        >>> [(failure.rule, failure.rows, failure.sample) for failure in report.failures]
        [('greater_than(0)', 2, ('-2.0', '-3.0'))]
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._schema: pa.DataFrameSchema | None = None

    def run(self, frames: Iterable[tuple[str, pl.DataFrame]]) -> SchemaReport:
        """The report over all (subject, frame) pairs; memory holds one batch of them."""
        found: dict[tuple[str, str, str], SchemaFailure] = {}
        report = SchemaReport()
        for batch in _batches(frames):
            report.rows += batch.frame.height
            if _is_clean(batch, self._table):
                continue
            for failure in self._failures(batch):
                at = (failure.subject, failure.column, failure.rule)
                found[at] = _merged(found.get(at), failure)
        report.failures = list(found.values())
        return report

    def _failures(self, batch: _Batch) -> Iterator[SchemaFailure]:
        import pandera.errors  # noqa: PLC0415  (slow import)

        if self._schema is None:
            self._schema = pandera_schema(self._table)
        try:
            self._schema.validate(batch.frame, lazy=True)
        except pandera.errors.SchemaErrors as error:
            for column, rule, value, row in error.failure_cases.select(
                "column", "check", pl.col("failure_case").cast(pl.String), "index"
            ).iter_rows():
                if rule.endswith(_ORDER) and row in set(batch.starts):
                    continue  # the first row of a frame follows no other
                for subject in batch.subjects if row is None else [batch.subject_of(row)]:
                    yield SchemaFailure(
                        subject, str(column or self._table.name), str(rule), 1, (str(value),)
                    )


def _batches(frames: Iterable[tuple[str, pl.DataFrame]]) -> Iterator[_Batch]:
    """Consecutive frames of one form, together up to `BATCH_CELLS` cells or one larger frame."""
    waiting: list[tuple[str, pl.DataFrame]] = []
    cells = 0
    for subject, frame in frames:
        more = frame.height * frame.width
        is_other = bool(waiting) and waiting[0][1].schema != frame.schema
        if waiting and (is_other or cells + more > BATCH_CELLS):
            yield _batch(waiting)
            waiting, cells = [], 0
        waiting.append((subject, frame))
        cells += more
    if waiting:
        yield _batch(waiting)


def _batch(frames: Sequence[tuple[str, pl.DataFrame]]) -> _Batch:
    heights = [frame.height for _, frame in frames]
    return _Batch(
        subjects=[subject for subject, _ in frames],
        starts=[0, *itertools.accumulate(heights)][:-1],
        frame=pl.concat([frame for _, frame in frames]),
    )


def _is_clean(batch: _Batch, table: Table) -> bool:
    """Whether every rule of the table holds, in one query over all columns."""
    frame = batch.frame
    if list(frame.schema.items()) != list(table.polars_schema.items()):
        return False
    if not frame.height:
        return True
    conditions = [holds for column in table.columns for holds in _holds(column)]
    conditions += [rule.holds.fill_null(value=True).all() for rule in table.rules]
    if table.key:
        conditions.append(~pl.struct(table.key).is_duplicated().any())
    is_clean = frame.select(pl.all_horizontal(conditions)).item() if conditions else True
    return bool(is_clean) and _is_ordered(batch, table)


def _holds(column: Column) -> Iterator[pl.Expr]:
    """What holds over a whole column; null values break nothing but a ban on them."""
    value, bounds = pl.col(column.name), column.bounds
    if not column.is_nullable:
        yield value.null_count() == 0
    if column.dtype.is_float():
        yield ~value.is_nan().any()
    if bounds.gt is not None:
        yield (value.min() > bounds.gt).fill_null(value=True)
    if bounds.ge is not None:
        yield (value.min() >= bounds.ge).fill_null(value=True)
    if bounds.lt is not None:
        yield (value.max() < bounds.lt).fill_null(value=True)
    if bounds.le is not None:
        yield (value.max() <= bounds.le).fill_null(value=True)
    if bounds.one_of is not None:
        yield value.drop_nulls().is_in(list(bounds.one_of)).all()


def _is_ordered(batch: _Batch, table: Table) -> bool:
    """Whether the ordering column decreases only where one frame ends and the next begins."""
    if not table.sorted_by:
        return True
    steps = batch.frame[table.sorted_by].to_physical().diff()
    backwards = (steps < 0).fill_null(value=False).arg_true()
    return set(backwards.to_list()) <= set(batch.starts)


def _merged(first: SchemaFailure | None, second: SchemaFailure) -> SchemaFailure:
    if first is None:
        return second
    sample = (*first.sample, *second.sample)[:SAMPLE_SIZE]
    return replace(first, rows=first.rows + second.rows, sample=sample)


def pandera_schema(table: Table) -> pa.DataFrameSchema:
    """The Pandera schema of the table: types, nulls, bounds, key, order, rules."""
    import pandera.polars as pa  # noqa: PLC0415  (slow import)

    return pa.DataFrameSchema(
        {
            column.name: pa.Column(
                column.dtype, nullable=column.is_nullable, checks=list(_column_checks(column))
            )
            for column in table.columns
        },
        checks=[*(_rule_check(rule) for rule in table.rules), *_order_checks(table)],
        unique=list(table.key) or None,
        strict=True,
        ordered=True,
        name=table.name,
    )


def _column_checks(column: Column) -> Iterator[pa.Check]:
    import pandera.polars as pa  # noqa: PLC0415  (slow import)

    bounds = column.bounds
    limits = (
        (bounds.gt, pa.Check.gt),
        (bounds.ge, pa.Check.ge),
        (bounds.lt, pa.Check.lt),
        (bounds.le, pa.Check.le),
    )
    yield from (check(limit) for limit, check in limits if limit is not None)
    if bounds.one_of is not None:
        yield pa.Check.isin(list(bounds.one_of))
    if column.dtype.is_float():
        yield pa.Check(
            lambda data: data.lazyframe.select(pl.col(data.key).is_not_nan().fill_null(value=True)),
            name="null_never_nan",
        )


def _rule_check(rule: RowRule) -> pa.Check:
    import pandera.polars as pa  # noqa: PLC0415  (slow import)

    return pa.Check(
        lambda data: data.lazyframe.select(rule.holds.fill_null(value=True)), name=rule.name
    )


def _order_checks(table: Table) -> Iterator[pa.Check]:
    import pandera.polars as pa  # noqa: PLC0415  (slow import)

    if table.sorted_by:
        step = pl.col(table.sorted_by).diff()
        holds = (step >= pl.duration()).fill_null(value=True)
        yield pa.Check(
            lambda data: data.lazyframe.select(holds), name=f"{table.sorted_by}_{_ORDER}"
        )
