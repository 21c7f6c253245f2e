"""A live table that goes stale, seen by Dagster's own daemon: its state, the alert, the recovery.

The daemon and the code location are those of an installation. Reports are made by the session's
reporter; one that is to be old is stamped so, for no test waits a quarter of an hour.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest
from dagster._core.definitions.freshness import FreshnessState
from dagster._core.instance.methods import event_methods
from doubles.installation import new_home

from tickhandler_dagster.assets.live_tables import FAIL_AFTER, FEED, WARN_AFTER, live_candles_key
from tickhandler_dagster.automation.live_reports import DagsterReporter, SessionTables
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.settings import Settings, child_environment
from tickhandler_dagster.streaming.ports import FeedStatus, LiveStatus

LIMIT_S = 120
TABLES = (FEED, live_candles_key(Timeframe.S15))
POLICY = {
    "group_within_s": 0,
    "notifiers": {"hook": {"type": "webhook", "url_env": "HOOK_URL", "timeout_s": 15}},
}
CODE = """
from tickhandler_dagster.automation.alert_sensor import Timing
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.settings import load_settings

defs = build_definitions(load_settings(), timing=Timing(interval_s=1))
"""


@pytest.fixture
def hook():
    """A receiver of alerts: `hook.taken` are their messages, `hook.url` is where to send them."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.taken, server.url = taken, f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def instance(tmp_path, open_services, hook):
    """An instance with a daemon that looks at freshness every second."""
    home = new_home(tmp_path)
    code = tmp_path / "location.py"
    code.write_text(CODE)
    settings = Settings(
        lake_root=tmp_path / "lake",
        dagster_home=home,
        instrument_exchanges=("binance",),
        download_venues=("binance",),
        download_data_types=("trades",),
        partition_start_date=dt.date(2024, 8, 1),
        partition_end_date=dt.date(2024, 8, 2),
        alerts=parse_alerts(json.dumps(POLICY)),
    )
    environment = {
        **child_environment(settings),
        "HOOK_URL": hook.url,
        "FRESHNESS_DAEMON_INTERVAL_SECONDS": "1",
    }
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        services = stack.enter_context(open_services(environment, tmp_path))
        services.start_daemon(services.start_code("-f", str(code)))
        yield found


def tell(instance, *, age=dt.timedelta(0)):
    """A report of a session that runs on, as old as that."""
    at = dt.datetime.now(dt.UTC) - age
    us = round(at.timestamp() * 1e6)
    feed = FeedStatus(
        venue=VenueId.BINANCE,
        is_connected=True,
        last_arrival_us=us,
        lag_us=20_000,
        skew_us=3_000,
        watermark_us=us,
        rows={"trades": 120},
        gaps=0,
        overflows=0,
    )
    status = LiveStatus(
        at=at,
        feeds=[feed],
        bars={Timeframe.S15: 40},
        newest_close_us={Timeframe.S15: us},
        amended=0,
        late_rows=0,
        publish_delay_us=120_000,
        spool_bytes=1,
        memory_bytes=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_methods, "get_current_timestamp", at.timestamp)
        reporter = DagsterReporter(instance, SessionTables(has_ticks=True, has_candles=True))
        reporter.report(status)
        wait_until(lambda: reporter.counts.sent == 1, lambda: reporter.counts)


def wait_until(is_so, what):
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


def states(instance):
    """Freshness of the tables as the page shows it."""
    records = instance.get_freshness_state_records(TABLES)
    return [records[key].freshness_state if key in records else None for key in TABLES]


def told(hook, transition):
    """Subjects of these messages; one that came twice, for its answer came late, counts once."""
    messages = {message["message_id"]: message for message in list(hook.taken)}
    return [
        line["subject"]
        for message in messages.values()
        if message["transition"] == transition and message["kind"] == "silent_session"
        for line in message["subjects"]
    ]


def test_a_table_turns_stale_somebody_is_told_and_it_recovers(instance, hook):
    def becomes(state):
        wait_until(lambda: states(instance) == [state] * len(TABLES), lambda: states(instance))

    tell(instance)
    becomes(FreshnessState.PASS)
    tell(instance, age=WARN_AFTER + dt.timedelta(seconds=30))
    becomes(FreshnessState.WARN)
    assert told(hook, "opened") == []
    tell(instance, age=FAIL_AFTER + dt.timedelta(seconds=30))
    becomes(FreshnessState.FAIL)
    wait_until(lambda: told(hook, "opened"), lambda: hook.taken)
    tell(instance)
    becomes(FreshnessState.PASS)
    wait_until(lambda: told(hook, "recovered"), lambda: hook.taken)
    assert told(hook, "opened") == told(hook, "recovered") == [FEED.to_user_string()]
