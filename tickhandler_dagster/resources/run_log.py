"""What runs write to their console: Dagster's text, or a JSON object per line.

What belongs here: the form of a line. What does not: what is logged, and the logs of Dagster's own
services, whose commands take `--log-format json`.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.execution import context_creation_job
from dagster._loggers import default_system_loggers

from tickhandler_dagster.settings import Settings

JSON = "json"

_PARTITION = "dagster/partition"
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


class CloudLoggingFormatter(logging.Formatter):
    """One JSON object per record, under the names that Cloud Logging reads.

    Example:
        >>> record = logging.LogRecord("a", logging.INFO, "", 0, "%d left", (3,), None)
        >>> record.created = 0.0
        >>> print(CloudLoggingFormatter().format(record))
        {"severity": "INFO", "message": "3 left", "time": "1970-01-01T00:00:00Z", "logger": "a"}
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end: newlines of a traceback are inside the text."""
        run = getattr(record, "dagster_meta", None) or {}
        event = run.get("dagster_event")
        entry = {
            "severity": record.levelname,
            "message": self._text(record, run),
            "time": _time(record.created),
            "logger": record.name,
            "run_id": run.get("run_id"),
            "job": run.get("job_name"),
            "step": run.get("step_key"),
            "partition": _partition(run.get("job_tags") or {}),
            "event": event.event_type_value if event is not None else None,
        }
        known = {name: value for name, value in entry.items() if value is not None}
        return json.dumps(known, ensure_ascii=False, default=str)

    def _text(self, record: logging.LogRecord, run: Mapping[str, Any]) -> str:
        text = str(run.get("orig_message") or record.getMessage())
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


@dg.logger(
    config_schema={
        "log_level": dg.Field(str, is_required=False, default_value="INFO"),
        "name": dg.Field(str, is_required=False, default_value="dagster"),
    },
    description="A JSON object per line, with the fields of Cloud Logging.",
)
def json_console(context: dg.InitLoggerContext) -> logging.Logger:
    """Console of a run; the settings are those of Dagster's own."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(CloudLoggingFormatter())
    # A logger of this run alone: one from the registry would keep the handlers of runs before.
    made = logging.Logger(context.logger_config["name"])  # noqa: LOG001  (see above)
    made.setLevel(context.logger_config["log_level"].upper())
    made.addHandler(handler)
    return made


def install_console(settings: Settings) -> dict[str, dg.LoggerDefinition]:
    """Let the runs of this process write as the settings say; gives the loggers of a location.

    A location's loggers are taken by Dagster only where a run's config names them, which no run of
    a backfill or schedule does. What it takes else is a function of its own, which is exchanged
    here. The road not taken, a handler in `dagster.yaml`, writes every line a second time.
    """
    is_json = settings.log_format == JSON
    made = _json_system_loggers if is_json else default_system_loggers
    context_creation_job.default_system_loggers = made  # type: ignore[attr-defined]  # its import
    return {"console": json_console} if is_json else {}


def _json_system_loggers(
    instance: dg.DagsterInstance | None,
) -> Sequence[tuple[dg.LoggerDefinition, Mapping[str, object]]]:
    return [(json_console, config) for _, config in default_system_loggers(instance)]


def _time(created_s: float) -> str:
    moment = dt.datetime.fromtimestamp(created_s, dt.UTC)
    return moment.isoformat().replace("+00:00", "Z")


def _partition(tags: Mapping[str, str]) -> str | None:
    if all(name in tags for name in _RANGE):
        return "...".join(dict.fromkeys(tags[name] for name in _RANGE))
    return tags.get(_PARTITION)
