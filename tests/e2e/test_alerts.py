"""From a fault of the vendor to one message, and one more when it heals, through a real daemon.

The daemon and the code location are those of an installation; the runs are done by this process on
the same instance, as the command line does them. The daemon's clock runs fast and stands in August
2024, so that deadlines pass and a notifier that failed is tried again within a test.
"""

import contextlib
import datetime as dt
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest
from doubles.installation import new_home, settings_over
from doubles.small_market import SmallMarket

from tickhandler_dagster.assets import retries
from tickhandler_dagster.automation.alert_store import read_memory
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.alerts.signal import IncidentKind
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.sandbox.faults import Fault, FaultRule
from tickhandler_dagster.sandbox.server import SandboxServer
from tickhandler_dagster.settings import child_environment

SYMBOL, WELL = "BTCUSDT", "ETHUSDT"  # of a cell whose one file fails, the other is served
FIRST, SPEED, LIMIT_S = dt.date(2024, 8, 1), 300, 90
CHECK, RUN = IncidentKind.FAILED_CHECK, IncidentKind.FAILED_RUN
QUOTA, LATE = IncidentKind.EXHAUSTED_QUOTA, IncidentKind.LATE_PARTITION

# What is told of each. What the client repeats, and what the vendor says is empty, is nobody's
# trouble; rows kept aside that leave no hole are in the manifest.
TOLD = {
    Fault.MISSING_FILE: {CHECK},
    Fault.CORRUPT_GZIP: {CHECK},
    Fault.CUT_LAST_ROW: {CHECK},
    Fault.WRONG_HEADER: {CHECK},
    Fault.HTML_NOT_GZIP: {CHECK},
    Fault.OUT_OF_ORDER: {CHECK},
    Fault.ZERO_VALUES: {CHECK},
    Fault.NEGATIVE_VALUES: {CHECK},
    Fault.RATE_LIMITED: set(),
    Fault.SERVER_ERROR: set(),
    Fault.TRUNCATED_BODY: set(),
    Fault.EMPTY_BODY: set(),
    Fault.EMPTY_GZIP: set(),
    Fault.HEADER_ONLY: set(),
    Fault.DUPLICATES: set(),
    Fault.QUOTA_EXHAUSTED: {CHECK, QUOTA},
    Fault.IP_LOCKED: {CHECK, RUN},
}
ONCE = {Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.TRUNCATED_BODY}
ENDS_THE_RUN = (Fault.QUOTA_EXHAUSTED, Fault.IP_LOCKED)
DAYS = {
    fault: FIRST + dt.timedelta(days=number)
    for number, fault in enumerate(
        [fault for fault in Fault if fault not in ENDS_THE_RUN] + list(ENDS_THE_RUN)
    )
}
LATE_DAYS = [max(DAYS.values()) + dt.timedelta(days=number) for number in (1, 2)]
FORCE = {"ops": {"raw_ticks__trades": {"config": {"force": True}}}}
POLICY = {
    "group_within_s": 0,
    "deadlines": [{"assets": ["raw_ticks/trades"], "by": "10:00"}],
    "notifiers": {
        # Long enough for a busy machine: a message that arrives after the time-out arrives twice.
        "hook": {"type": "webhook", "url_env": "HOOK_URL", "timeout_s": 15},
        "pager": {"type": "webhook", "url_env": "PAGER_URL", "timeout_s": 3},
    },
}
CODE = """
import time
from tickhandler_dagster.automation.alert_sensor import Timing
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.settings import load_settings

def clock():
    return {start_us} + round((time.time() - {began}) * {speed} * 1e6)

defs = build_definitions(load_settings(), timing=Timing(clock, 1))
"""


def _cell(day):
    return f"{day}|binance"


def _subject(kind, fault):
    return {
        CHECK: f"raw_ticks/trades complete {_cell(DAYS[fault])}",
        RUN: f"run of raw_ticks/trades {_cell(DAYS[fault])}",
        QUOTA: "tardis",
    }[kind]


class Receiver:
    """A local HTTP server that takes messages, refuses them, or does not answer."""

    def __init__(self):
        self.taken, self.mode, self.met = [], "ok", Counter()
        self._server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}/"

    def open(self, port=0):
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.met[receiver.mode] += 1
                if receiver.mode == "hanging":
                    time.sleep(5)
                    self.close_connection = True
                    return
                if receiver.mode == "ok":
                    receiver.taken.append(json.loads(body))
                self.send_response(200 if receiver.mode == "ok" else 500)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    @property
    def ids(self):
        return {message["message_id"] for message in self.taken}

    def subjects(self, transition):
        """Kind and subject of every line of such messages, in order."""
        return [
            (message["kind"], line["subject"])
            for message in self.taken
            if message["transition"] == transition
            for line in message["subjects"]
        ]


def _wait(is_so, what):
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


class Story:
    """What happened, phase by phase."""

    def __init__(self, platform, services, location, hook, pager):
        self.platform, self.services, self.location = platform, services, location
        self.hook, self.pager = hook, pager
        self.states, self.failed_checks, self.metadata = {}, set(), {}

    def run(self, *days, config=None):
        span = (_cell(days[0]), _cell(days[-1])) if len(days) > 1 else None
        partition = None if span else _cell(days[0])
        return self.platform.run("raw_ticks/trades", partition=partition, span=span, config=config)

    def tick(self):
        """Wait for two ticks that begin from now on."""
        for _ in range(2):
            before = self._last_tick()
            _wait(lambda before=before: self._last_tick() > before, lambda: "no tick")

    def _last_tick(self):
        states = self.platform.instance.all_instigator_state()
        return max((s.instigator_data.last_tick_timestamp or 0 for s in states), default=0)

    def note(self, result):
        for evaluation in result.get_asset_check_evaluations():
            key = (evaluation.check_name, evaluation.partition)
            if not evaluation.passed and evaluation.partition:
                self.failed_checks.add(key)
                self.metadata[key] = evaluation.metadata


def _told(story, transition, kinds):
    return lambda: kinds <= set(story.hook.subjects(transition))


EXPECTED = {(kind, _subject(kind, fault)) for fault, kinds in TOLD.items() for kind in kinds}
EXPECTED_LATE = {(LATE, f"raw_ticks/trades {_cell(day)}") for day in LATE_DAYS}


@pytest.fixture(scope="module")
def story(tmp_path_factory, open_services, platform_over):
    folder = tmp_path_factory.mktemp("alerts")
    home = new_home(folder)
    morning = dt.datetime.combine(LATE_DAYS[-1], dt.time(10, 1), dt.UTC) + dt.timedelta(days=1)
    code = folder / "fast_clock.py"
    start_us = round(morning.timestamp() * 1e6)
    code.write_text(CODE.format(start_us=start_us, began=time.time(), speed=SPEED))
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(SandboxServer(SmallMarket(SYMBOL, WELL)))
        settings = settings_over(
            server,
            folder,
            ("binance",),
            days=(FIRST, LATE_DAYS[-1]),
            download_data_types=("trades",),
            dagster_home=home,
            alerts=parse_alerts(json.dumps(POLICY)),
            log_level="INFO",
        )
        hook, pager = Receiver().open(), Receiver().open()
        stack.callback(hook.close)
        pager.close()  # its address is known, and nobody is there
        secrets = {"HOOK_URL": hook.url, "PAGER_URL": pager.url}
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(home)))
        services = stack.enter_context(
            open_services({**child_environment(settings), **secrets}, folder)
        )
        platform = platform_over(settings, instance)
        location = services.start_code("-f", str(code))
        daemon = services.start_daemon(location)
        yield _tell(Story(platform, services, location, hook, pager), server, daemon)


def _tell(story, server, daemon):
    assert story.platform.run("exchange_catalog", partition="binance").success
    span = (_cell(FIRST), _cell(LATE_DAYS[-1]))
    assert story.platform.run("instruments", span=span).success
    _wait(lambda: read_memory(story.platform.instance), lambda: "the first tick did not come")
    _break(story, server)
    _wait(_told(story, "opened", EXPECTED | EXPECTED_LATE), lambda: story.hook.taken)

    story.services.stop(daemon)
    before = list(story.hook.taken)
    story.services.start_daemon(story.location)
    story.tick()
    story.told_by_restart = story.hook.taken[len(before) :]

    story.pager_missed = not story.pager.taken
    port = int(story.pager.url.rstrip("/").rpartition(":")[2])
    story.pager.mode = "refusing"
    story.pager.open(port)
    for mode in ("refusing", "hanging"):
        story.pager.mode = mode
        _wait(lambda mode=mode: story.pager.met[mode], lambda: story.pager.met)
    story.pager.mode = "ok"
    _heal(story, server)
    _wait(_told(story, "recovered", EXPECTED | EXPECTED_LATE), lambda: story.hook.taken)
    _wait(lambda: story.hook.ids <= story.pager.ids, lambda: story.pager.taken)
    story.tick()
    story.pager.close()
    return story


def _break(story, server):
    for fault, day in DAYS.items():
        times = 1 if fault in ONCE else None
        rule = FaultRule(fault, data_type="trades", symbol=SYMBOL, date=str(day), times=times)
        server.faults.add(rule)
    one_run = [day for fault, day in DAYS.items() if fault not in ENDS_THE_RUN]
    result = story.run(*one_run)
    assert result.success, story.platform.failures(result)
    results = [result]
    with pytest.MonkeyPatch.context() as patch:
        # The lock lasts a quarter of an hour; a step would wait for it.
        patch.setattr(retries, "LONGEST_WAIT_S", 5.0)
        results += [story.run(DAYS[fault]) for fault in ENDS_THE_RUN]
    assert [one.success for one in results[1:]] == [False, False]
    for one in results:
        story.note(one)
    for fault, day in DAYS.items():
        story.states[fault] = story.platform.states(_cell(day))[SYMBOL].state


def _heal(story, server):
    server.faults.clear()
    assert story.run(*DAYS.values(), config=FORCE).success
    assert story.run(*LATE_DAYS).success


def test_every_fault_is_told_of_or_has_a_reason_not_to_be():
    assert set(TOLD) == set(Fault)


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_is_told_once_and_its_recovery_once(story, fault):
    cell = _cell(DAYS[fault])
    expected = Counter((kind.value, _subject(kind, fault)) for kind in TOLD[fault])
    for transition in ("opened", "recovered"):
        found = [pair for pair in story.hook.subjects(transition) if cell in pair[1]]
        found += [
            pair
            for pair in story.hook.subjects(transition)
            if pair[0] == QUOTA and QUOTA in TOLD[fault]
        ]
        assert Counter(found) == expected, transition
    is_failing = ("complete", cell) in story.failed_checks
    assert is_failing == (CHECK in TOLD[fault])
    if is_failing:
        assert SYMBOL[:3] in str(story.metadata["complete", cell])
    is_missing = story.states[fault].is_missing
    assert not is_missing or CHECK in TOLD[fault]
    assert is_missing or story.states[fault] in {DataState.PRESENT, DataState.EMPTY}


def test_nothing_else_is_told(story):
    expected = {(kind.value, subject) for kind, subject in EXPECTED | EXPECTED_LATE}
    assert set(story.hook.subjects("opened")) == expected
    assert set(story.hook.subjects("recovered")) == expected
    assert {message["transition"] for message in story.hook.taken} == {"opened", "recovered"}


def test_a_message_says_what_where_and_since_when(story):
    lines = {
        line["subject"]: line
        for message in story.hook.taken
        if message["transition"] == "opened"
        for line in message["subjects"]
    }
    check = lines[_subject(CHECK, Fault.MISSING_FILE)]
    assert "the check fails" in check["summary"]
    assert "/assets/raw_ticks/trades?view=checks" in check["link"]
    run = lines[_subject(RUN, Fault.IP_LOCKED)]
    assert "step raw_ticks__trades: " in run["summary"]
    assert "another address" in run["summary"]
    assert "/runs/" in run["link"]
    late = lines[f"raw_ticks/trades {_cell(LATE_DAYS[0])}"]
    assert late["summary"].endswith(f"its deadline, {LATE_DAYS[1]} 10:00 UTC.")


def test_cells_late_before_the_first_tick_are_told_at_once(story):
    late = [pair for pair in story.hook.subjects("opened") if pair[0] == LATE]
    assert Counter(late) == Counter({(kind.value, subject): 1 for kind, subject in EXPECTED_LATE})
    assert story.hook.taken[0]["kind"] == LATE


def test_a_daemon_started_again_tells_nothing_twice(story):
    assert story.told_by_restart == []


def test_a_notifier_that_was_down_hears_everything_once_and_delays_nobody(story):
    assert story.pager_missed, "the other one had heard everything by then"
    assert story.pager.met["refusing"]
    assert story.pager.met["hanging"]
    ids = [message["message_id"] for message in story.pager.taken]
    assert len(ids) == len(set(ids))
    assert set(ids) == story.hook.ids
    for transition in ("opened", "recovered"):
        assert Counter(story.pager.subjects(transition)) == Counter(story.hook.subjects(transition))
