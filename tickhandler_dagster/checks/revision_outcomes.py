"""Outcome of the check `unrevised`: files that the vendor has changed since they were taken.

What does not belong here: the comparison (`market/revisions.py`).
"""

import dagster as dg

from tickhandler_dagster.checks.outcomes import CheckOutcome
from tickhandler_dagster.checks.policy import CheckName
from tickhandler_dagster.market.revisions import REVISION_STATE_MEANINGS, Revision, RevisionState
from tickhandler_dagster.pipeline.recheck import RecheckResult
from tickhandler_dagster.reporting import markdown

SHOWN = 200
"""Lines of a table in an event; the stored table has them all."""

HEADER = ("data type", "file", "state", "why", "instruments", "bars of these days hold its rows")


def revisions_outcome(result: RecheckResult) -> CheckOutcome:
    """Whether the lake has what the vendor has."""
    others = [item for item in result.revisions if not item.state.is_as_taken]
    by_state = result.by_state
    rows = [revision_line(item) for item in others]
    return CheckOutcome(
        CheckName.UNREVISED,
        not others,
        {
            "files compared": dg.MetadataValue.int(len(result.revisions)),
            **{str(state): dg.MetadataValue.int(by_state.get(state, 0)) for state in RevisionState},
        }
        | (
            {"not as taken": dg.MetadataValue.md(markdown.table(HEADER, rows, limit=SHOWN))}
            if others
            else {}
        ),
    )


def states_table(result: RecheckResult) -> str:
    """A line per state that occurs, with what it means."""
    return markdown.table(
        ["state", "files", "meaning"],
        [
            (str(state), f"{count:,}", REVISION_STATE_MEANINGS[state])
            for state, count in result.by_state.items()
        ],
    )


def revision_line(revision: Revision) -> tuple[str, ...]:
    """A result as texts in the order of `HEADER`."""
    taken = revision.taken
    return (
        taken.data_type,
        taken.source_symbol,
        revision.state,
        revision.reason or "",
        ", ".join(taken.instrument_keys),
        ", ".join(str(day) for day in taken.days_with_its_rows),
    )
