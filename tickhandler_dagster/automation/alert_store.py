"""Where the alerts' memory lies: one text under one key of Dagster's own storage.

What belongs here: reading and replacing that text. The place in the event log and the ledger are in
the same text, so that no crash can make them disagree. It is one value and not many chunks: writing
one is atomic on every storage, and SQLite and Postgres hold a gigabyte of it.
"""

from __future__ import annotations

import json

import dagster as dg

from tickhandler_dagster.automation.alert_watch import Watch
from tickhandler_dagster.market.alerts.ledger import Ledger
from tickhandler_dagster.market.alerts.ledger_json import from_json, to_json

KEY = "tickhandler/alerts"


def read_memory(instance: dg.DagsterInstance) -> tuple[Watch, Ledger] | None:
    """What was stored last; None before the first time."""
    text = instance.daemon_cursor_storage.get_cursor_values({KEY}).get(KEY)
    if text is None:
        return None
    head, _, rest = text.partition("\n")
    return Watch.of(json.loads(head)), from_json(rest)


def store_memory(instance: dg.DagsterInstance, watch: Watch, ledger: Ledger) -> None:
    """Replace what is stored."""
    text = f"{json.dumps(watch.record)}\n{to_json(ledger)}"
    instance.daemon_cursor_storage.set_cursor_values({KEY: text})
