"""The checks of `live/feed` run by hand: what the session said last, and whether it still speaks.

What belongs here: giving the checks a body, without which they have no place on the page. What does
not: judging a status (`checks/live_feed.py`), which the session's reports do every minute.
"""

from collections.abc import Iterator, Mapping

import dagster as dg

from tickhandler_dagster.assets.live_tables import FEED, FEED_CHECKS, feed_check_specs
from tickhandler_dagster.automation.alert_sensor import now_us
from tickhandler_dagster.automation.live_signals import silence_signals
from tickhandler_dagster.checks.policy import POLICY, CheckName

_KEYS = {name: dg.AssetCheckKey(FEED, name.value) for name in FEED_CHECKS}


def build_live_checks() -> list[dg.AssetChecksDefinition]:
    """The checks as something that can be run."""

    @dg.multi_asset_check(specs=feed_check_specs(), name="live_feed_checks")
    def live_feed_checks(
        context: dg.AssetCheckExecutionContext,
    ) -> Iterator[dg.AssetCheckResult]:
        silence = next(iter(silence_signals(context.instance, now_us())), None)
        is_silent = silence is not None and silence.is_bad
        said = last_said(context.instance)
        for name in FEED_CHECKS:
            last = said.get(name)
            yield dg.AssetCheckResult(
                asset_key=FEED,
                check_name=name.value,
                passed=not is_silent and (last is None or last.passed),
                severity=POLICY[name].severity,
                metadata={
                    "session": "none was ever started" if silence is None else silence.summary,
                    **({} if last is None else last.metadata),
                },
            )

    return [live_feed_checks]


def last_said(instance: dg.DagsterInstance) -> Mapping[CheckName, dg.AssetCheckEvaluation]:
    """The newest evaluation of each check of the feed."""
    found = {}
    for name, key in _KEYS.items():
        # The newest record of a check that runs is that it was planned, which says nothing.
        for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=5):
            event = None if record.event is None else record.event.dagster_event
            if event is not None and event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                found[name] = event.asset_check_evaluation_data
                break
    return found
