"""Six years of a platform's event log, written as runs write it, in bulk.

What belongs here: which events there are, and how they get into the storage. A run of a range is 30
days of a venue: for each asset one planned event, then per cell its materialization and its check
evaluations, which name the materialization they are about; then the run's end. One evaluation in
200 fails, one cell in 1,000 is planned and never comes.

How it is fast: Dagster makes and serializes one event of each kind and asset; the partition, the
run, the storage ids and the time are then put into its text, and rows are written in batches with
the storage's own tables. `tests/instance/test_instance_fill.py` holds the result against the same
events stored one by one. Left out: the runs' own files, which only the page of a run reads.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster import DagsterEventType
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset
from dagster._core.events import AssetMaterializationPlannedData, StepMaterializationData
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._serdes import deserialize_value, serialize_value

RANGE_DAYS = 30
FAILED_ONE_IN = 200
SKIPPED_ONE_IN = 1_000
JOB = "__ASSET_JOB"
BATCH_ROWS = 20_000

_CELL, _RUN, _ID, _TIME = "1999-12-31|nowhere", "f" * 36, 987_654_321_012, 1_234_567_890.125
_OF_ASSETS = (
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
)
_ENDS = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


@dataclass(frozen=True)
class Stream:
    """An asset to fill.

    Attributes:
        key: Which.
        checks: Names of its checks.
        venues: Venues it has cells of.
    """

    key: dg.AssetKey
    checks: tuple[str, ...]
    venues: frozenset[str]


def streams_of(repository: dg.RepositoryDefinition, names: Sequence[str]) -> list[Stream]:
    """The assets over date x venue of these names, in the order of the graph."""
    graph = repository.asset_graph
    found = []
    for key in graph.toposorted_asset_keys:
        node = graph.get(key)
        days = node.partitions_def
        if not (
            node.is_materializable
            and isinstance(days, dg.MultiPartitionsDefinition)
            and key.to_user_string() in names
        ):
            continue
        venues = days.get_partitions_def_for_dimension("venue").get_partition_keys()
        checks = tuple(sorted(one.name for one in node.check_keys))
        found.append(Stream(key, checks, frozenset(venues)))
    return found


def materialization(key: dg.AssetKey, cell: str) -> StepMaterializationData:
    """What the asset's step says of a cell."""
    metadata = {"dagster/partition_row_count": 1_234_567, "instruments": 23, "bytes": 45_678_901}
    event = dg.AssetMaterialization(
        key,
        partition=cell,
        metadata={name: dg.MetadataValue.int(value) for name, value in metadata.items()},
    )
    return StepMaterializationData(event)


def evaluation(
    key: dg.AssetKey, name: str, cell: str, target: tuple[int, str, float], *, has_passed: bool
) -> dg.AssetCheckEvaluation:
    """What a check says of a cell."""
    counts = {"expected": 23, "missing": 0 if has_passed else 2, "holes": 0}
    storage_id, run_id, timestamp = target
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=name,
        passed=has_passed,
        severity=dg.AssetCheckSeverity.WARN,
        partition=cell,
        metadata={label: dg.MetadataValue.int(value) for label, value in counts.items()},
        target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
            storage_id=storage_id, run_id=run_id, timestamp=timestamp
        ),
    )


def entry(
    run_id: str, timestamp: float, kind: DagsterEventType, data: object, step: str | None = None
) -> dg.EventLogEntry:
    """An event of a run as Dagster stores it."""
    event = dg.DagsterEvent(kind.value, JOB, step_key=step, event_specific_data=data)
    return dg.EventLogEntry(
        error_info=None,
        level=20,
        user_message="",
        run_id=run_id,
        timestamp=timestamp,
        step_key=step,
        job_name=JOB,
        dagster_event=event,
    )


class _Form:
    """The text of an event, in which its cell, run, ids and time stand at known places."""

    def __init__(self, made: dg.EventLogEntry) -> None:
        self._text = serialize_value(made)

    def text(self, cell: str, run_id: str, storage_id: int, timestamp: float) -> str:
        """The event of that cell."""
        return (
            self._text.replace(_CELL, cell)
            .replace(_RUN, run_id)
            .replace(str(_ID), str(storage_id))
            .replace(str(_TIME), repr(timestamp))
        )


@dataclass
class _StreamForms:
    made: _Form
    checks: Mapping[tuple[str, bool], _Form]


@dataclass
class Fill:
    """Writes the log; `cells`, `events` and `runs` count what was written.

    Attributes:
        instance: Whose log; on SQLite.
        streams: What to fill.
    """

    instance: dg.DagsterInstance
    streams: Sequence[Stream]
    cells: int = 0
    events: int = 0
    runs: int = 0
    _next_id: int = 0
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _checks: list[dict[str, Any]] = field(default_factory=list)
    _plans: dict[tuple[dg.AssetKey, str], tuple[int, str, float]] = field(default_factory=dict)
    _newest: dict[dg.AssetKey, tuple[int, str]] = field(default_factory=dict)

    def write(self, first: dt.date, days: int, venues: Sequence[str]) -> None:
        """All cells of the span, run after run, and the assets' own records at the end."""
        forms = {stream.key: _forms(stream) for stream in self.streams}
        self._next_id = 1 + int(self.instance.event_log_storage.get_maximum_record_id() or 0)
        began = dt.datetime.combine(first, dt.time(), dt.UTC).timestamp() + 86_400
        for start in range(0, days, RANGE_DAYS):
            block = [
                str(first + dt.timedelta(days=day))
                for day in range(start, min(start + RANGE_DAYS, days))
            ]
            for place, venue in enumerate(venues):
                cells = [f"{day}|{venue}" for day in block]
                self._run(forms, venue, cells, began + (start + len(block)) * 86_400 + place * 600)
        self._flush()
        for storage_id, text in self._newest.values():
            newest = deserialize_value(text, dg.EventLogEntry)
            self.instance.event_log_storage.store_asset_event(newest, storage_id)

    def _run(
        self,
        forms: Mapping[dg.AssetKey, _StreamForms],
        venue: str,
        cells: Sequence[str],
        began: float,
    ) -> None:
        run_id = str(uuid.UUID(int=self.runs + 1))
        self.runs += 1
        self.instance.add_run(
            dg.DagsterRun(
                job_name=JOB,
                run_id=run_id,
                status=dg.DagsterRunStatus.SUCCESS,
                tags=dict(zip(_ENDS, (cells[0], cells[-1]), strict=True)),
            )
        )
        streams = [stream for stream in self.streams if venue in stream.venues]
        subset = DefaultPartitionsSubset(set(cells))
        for stream in streams:
            self._planned(run_id, began, stream, subset)
        for stream in streams:
            for place, cell in enumerate(cells):
                self._cell(forms[stream.key], stream, cell, run_id, began + 1.25 + place)
        for kind in (DagsterEventType.RUN_START, DagsterEventType.RUN_SUCCESS):
            made = entry(run_id, began + 500, kind, None)
            self._row(kind, run_id, began + 500, serialize_value(made))

    def _planned(
        self, run_id: str, at: float, stream: Stream, subset: DefaultPartitionsSubset
    ) -> None:
        kind = DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        data = AssetMaterializationPlannedData(stream.key, partitions_subset=subset)
        text = serialize_value(entry(run_id, at, kind, data, stream.key.to_python_identifier()))
        self._row(kind, run_id, at, text, stream)
        kind = DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED
        for name in stream.checks:
            planned = AssetCheckEvaluationPlanned(
                asset_key=stream.key, check_name=name, partitions_subset=subset
            )
            text = serialize_value(entry(run_id, at, kind, planned))
            self._plans[stream.key, name] = self._next_id, text, at
            self._row(kind, run_id, at, text)

    def _cell(self, forms: _StreamForms, stream: Stream, cell: str, run_id: str, at: float) -> None:
        self.cells += 1
        number = self.cells
        target = self._next_id
        has_passed = number % FAILED_ONE_IN != 0
        is_left_out = number % SKIPPED_ONE_IN == 1
        if not is_left_out:
            text = forms.made.text(cell, run_id, target, at)
            self._row(DagsterEventType.ASSET_MATERIALIZATION, run_id, at, text, stream, cell)
            self._newest[stream.key] = target, text
        for name in stream.checks:
            storage_id, text, moment = self._plans[stream.key, name]
            status = "PLANNED"
            if not is_left_out:
                storage_id, moment = self._next_id, at
                text = forms.checks[name, has_passed].text(cell, run_id, target, at)
                status = "SUCCEEDED" if has_passed else "FAILED"
                self._row(DagsterEventType.ASSET_CHECK_EVALUATION, run_id, at, text, stream)
            self._checks.append(
                {
                    "asset_key": stream.key.to_string(),
                    "check_name": name,
                    "partition": cell,
                    "run_id": run_id,
                    "execution_status": status,
                    "evaluation_event": text,
                    "evaluation_event_timestamp": _moment(moment),
                    "evaluation_event_storage_id": storage_id,
                    "materialization_event_storage_id": None if is_left_out else target,
                }
            )

    def _row(  # noqa: PLR0917  (the columns of one row)
        self,
        kind: DagsterEventType,
        run_id: str,
        at: float,
        text: str,
        stream: Stream | None = None,
        cell: str | None = None,
    ) -> None:
        self._rows.append(
            {
                "id": self._next_id,
                "run_id": run_id,
                "event": text,
                "dagster_event_type": kind.value,
                "timestamp": _moment(at),
                "step_key": stream.key.to_python_identifier() if stream else None,
                # Dagster fills this in for events about an asset, not for those about a check.
                "asset_key": stream.key.to_string() if stream and kind in _OF_ASSETS else None,
                "partition": cell,
            }
        )
        self._next_id += 1
        self.events += 1
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        with self.instance.event_log_storage.index_connection() as connection:
            for table, rows in (
                (SqlEventLogStorageTable, self._rows),
                (AssetCheckExecutionsTable, self._checks),
            ):
                if rows:
                    connection.execute(db.insert(table), rows)
                    rows.clear()


def _forms(stream: Stream) -> _StreamForms:
    step = stream.key.to_python_identifier()
    kind = DagsterEventType.ASSET_CHECK_EVALUATION
    target = (_ID, _RUN, _TIME)
    return _StreamForms(
        made=_Form(
            entry(
                _RUN,
                _TIME,
                DagsterEventType.ASSET_MATERIALIZATION,
                materialization(stream.key, _CELL),
                step,
            )
        ),
        checks={
            (name, has_passed): _Form(
                entry(
                    _RUN,
                    _TIME,
                    kind,
                    evaluation(stream.key, name, _CELL, target, has_passed=has_passed),
                    step,
                )
            )
            for name in stream.checks
            for has_passed in (True, False)
        },
    )


def _moment(timestamp: float) -> dt.datetime:
    """As the storage keeps times: UTC, without saying so."""
    return dt.datetime.fromtimestamp(timestamp, dt.UTC).replace(tzinfo=None)


def failures(streams: Sequence[Stream], cells: Sequence[str]) -> Iterator[tuple[Stream, str, str]]:
    """Streams, checks and cells for evaluations that fail anew, one after the other."""
    for cell in cells:
        for stream in streams:
            if cell.rpartition("|")[2] in stream.venues:
                for name in stream.checks:
                    yield stream, name, cell
