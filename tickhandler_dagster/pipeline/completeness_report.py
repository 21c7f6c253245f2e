"""The completeness of a span in the numbers a page is made of, read in one pass of bounded memory.

What belongs here: counting and adding up what `completeness_reading.py` gives. What does not: the
page (`reporting/completeness_page`) and the files of rows (`completeness_export.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.progress import OnProgress, Progress
from tickhandler_dagster.market.quality.policy import QualityPolicy, Verdict
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.pipeline.completeness_evidence import read_broken_rules, read_holes
from tickhandler_dagster.pipeline.completeness_reading import (
    WHOLE_CELL,
    ReportSpan,
    completeness_batches,
)
from tickhandler_dagster.pipeline.completeness_runs import (
    COMPLETE_STATES,
    NOT_EXPECTED_STATES,
    add_sums,
    instrument_sums,
    join_runs,
    runs_of,
    shorten,
    worst_first,
)

MAX_RUNS = 250_000
"""Runs a page carries; with more of them the counts stay whole and the rows are in the files."""

_STREAM = ("venue", "data_type")
_COUNTS = ("date", *_STREAM, "state", "verdict", "is_whole_cell")
_TOTALS = ("instruments", "rows", "quarantined_rows", "bytes", "gaps", "gap_us", "lost_trades")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What a page has no room for; zeros where it shows everything.

    Attributes:
        runs: Runs of days.
        hole_cells: Cells of a venue, type and day whose holes are not listed one by one.
        findings_objects: Objects of broken rules, the oldest.
    """

    runs: int = 0
    hole_cells: int = 0
    findings_objects: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletenessReport:
    """The numbers of a report.

    Attributes:
        span: What it is about.
        counts: date, venue, data_type, state, verdict, is_whole_cell, instruments and the sums of
            `_TOTALS`: how many instruments of a day are in a state. A cell without a stored table
            counts as one, with is_whole_cell true.
        runs: As `runs_of` says.
        worst: As `worst_first` says.
        holes: Rows of `GAPS_TABLE`.
        broken_rules: As `read_broken_rules` says.
        left_out: What was not kept.
        simulated_rows: Rows whose data came from the sandbox.
    """

    span: ReportSpan
    counts: pl.DataFrame
    runs: pl.DataFrame
    worst: pl.DataFrame
    holes: pl.DataFrame
    broken_rules: pl.DataFrame
    left_out: LeftOut
    simulated_rows: int

    def by_state(self) -> dict[DataState, int]:
        """(Instrument, type, day) rows of each state; whole cells are not among them."""
        return self._rows_by_state(is_whole_cell=False)

    def whole_cells_by_state(self) -> dict[DataState, int]:
        """(Venue, type, day) cells without a stored table, of each state."""
        return self._rows_by_state(is_whole_cell=True)

    def totals(self) -> dict[str, int]:
        """Sums over all rows, by column name; units as in `COMPLETENESS_TABLE`."""
        return {name: int(self.counts[name].sum()) for name in _TOTALS}

    def worst_verdict(self) -> Verdict:
        """The most severe verdict of all rows and whole cells."""
        found = set(self.counts["verdict"])
        return next((verdict for verdict in Verdict if verdict in found), Verdict.IGNORE)

    def shares(self) -> pl.DataFrame:
        """Complete share of what a venue should have by now, for each day and type.

        Shape:
            date, venue, data_type, share in [0, 1]; cells that expect nothing are not in it.
        """
        complete = pl.col("state").is_in([str(state) for state in COMPLETE_STATES])
        expected = ~pl.col("state").is_in([str(state) for state in NOT_EXPECTED_STATES])
        return (
            self.counts.group_by("date", *_STREAM)
            .agg(
                pl.col("instruments").filter(complete).sum().alias("complete"),
                pl.col("instruments").filter(expected).sum().alias("expected"),
            )
            .filter(pl.col("expected") > 0)
            .select("date", *_STREAM, (pl.col("complete") / pl.col("expected")).alias("share"))
            .sort("date", *_STREAM)
        )

    def weekly(self) -> pl.DataFrame:
        """The mean of the shares of a week's cells: week (its Monday), share, cells."""
        week = pl.col("date").dt.truncate("1w").alias("week")
        means = self.shares().group_by(week).agg(pl.col("share").mean(), pl.len().alias("cells"))
        return means.sort("week")

    def _rows_by_state(self, *, is_whole_cell: bool) -> dict[DataState, int]:
        rows = self.counts.filter(pl.col("is_whole_cell") == is_whole_cell)
        sums = dict(rows.group_by("state").agg(pl.col("instruments").sum()).iter_rows())
        return {state: int(sums.get(state, 0)) for state in DataState}


def build_report(
    span: ReportSpan,
    *,
    lake: Lake,
    policy: QualityPolicy,
    on_rows: Callable[[pl.DataFrame], None],
    on_progress: OnProgress,
) -> CompletenessReport:
    """Read the span once and add it up.

    Args:
        span: Days, venues and data types.
        lake: Where the tables are.
        policy: How a cell without a table is taken.
        on_rows: Takes the rows batch by batch in the order of the table's key.
        on_progress: Told after every batch.

    Raises:
        CorruptData: a stored table is not readable.
    """
    sums = _Sums()
    done, days = 0, len(span.days)
    for batch in completeness_batches(span, lake=lake, policy=policy):
        on_rows(batch.rows)
        sums.add(batch.rows)
        done += batch.days
        on_progress(Progress("completeness", done, days, "days", rows=sums.rows))
    runs = join_runs(sums.runs)
    kept = shorten(runs, MAX_RUNS)
    counts = pl.concat(sums.counts).sort(_COUNTS)
    holes, hole_cells = read_holes(lake, _cells_with_holes(counts))
    broken_rules, findings_objects = read_broken_rules(lake, span)
    return CompletenessReport(
        span=span,
        counts=counts,
        runs=kept,
        worst=worst_first(sums.instruments),
        holes=holes,
        broken_rules=broken_rules,
        left_out=LeftOut(
            runs=runs.height - kept.height + sums.runs_dropped,
            hole_cells=hole_cells,
            findings_objects=findings_objects,
        ),
        simulated_rows=sums.simulated_rows,
    )


@dataclass
class _Sums:
    """What is kept of the rows while they pass."""

    counts: list[pl.DataFrame] = dataclasses.field(default_factory=list)
    runs: pl.DataFrame = dataclasses.field(default_factory=pl.DataFrame)
    instruments: pl.DataFrame = dataclasses.field(default_factory=pl.DataFrame)
    rows: int = 0
    runs_dropped: int = 0
    simulated_rows: int = 0

    def add(self, rows: pl.DataFrame) -> None:
        self.rows += rows.height
        self.simulated_rows += int(rows["is_simulated"].sum())
        self.counts.append(_counted(rows))
        runs = runs_of(rows)
        self.instruments = add_sums(_below(self.instruments, instrument_sums(runs)))
        self.runs = _below(self.runs, runs)
        if self.runs.height > 2 * MAX_RUNS:  # what fails every day in another way has no end
            joined = join_runs(self.runs)
            self.runs = shorten(joined, MAX_RUNS)
            self.runs_dropped += joined.height - self.runs.height


def _below(above: pl.DataFrame, below: pl.DataFrame) -> pl.DataFrame:
    return below if above.is_empty() else pl.concat([above, below])


def _counted(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.with_columns((pl.col("instrument_key") == WHOLE_CELL).alias("is_whole_cell"))
        .group_by(_COUNTS)
        .agg(
            pl.len().cast(pl.Int64).alias("instruments"),
            pl.col(_TOTALS[1:]).sum(),
        )
    )


def _cells_with_holes(counts: pl.DataFrame) -> pl.DataFrame:
    sums = counts.group_by("date", *_STREAM).agg(pl.col("gaps", "gap_us").sum())
    return sums.filter(pl.col("gaps") > 0)
