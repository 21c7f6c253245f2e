"""The sensor begins at now, tells each thing once, and loses nothing to whatever fails."""

import datetime as dt

import dagster as dg
import pytest

from tickhandler_dagster.automation import alert_sensor
from tickhandler_dagster.automation.alert_sensor import Alerting, Timing, build_alerts, tick
from tickhandler_dagster.automation.alert_store import KEY, read_memory
from tickhandler_dagster.automation.event_pages import PAGE_SIZE
from tickhandler_dagster.automation.freshness_signals import expected_cells
from tickhandler_dagster.definitions import build_definitions
from tickhandler_dagster.market.alerts.policy import AlertPolicy, Deadline
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.errors import CorruptData, VendorUnavailable
from tickhandler_dagster.settings import Settings

CELL = "2024-08-08|binance"
MINUTE_US = 60_000_000
BROKEN = CorruptData("BTCUSDT", "cut in the middle", remedy="Fetch it again")


class Pigeon:
    """Takes messages, or fails as it is told to."""

    def __init__(self):
        self.taken, self.error = [], None

    def send(self, message):
        if self.error is not None:
            raise self.error
        self.taken.append(message)

    @property
    def subjects(self):
        return [
            (str(message.transition), line.subject)
            for message in self.taken
            for line in message.lines
        ]


@pytest.fixture
def office(sqlite_bench):
    return Office(sqlite_bench)


class Office:
    """A bench with a sensor over it; time stands still between ticks but for what a test adds."""

    def __init__(self, bench, **policy):
        self.bench, self.pigeon = bench, Pigeon()
        self.now_us = round(dt.datetime(2024, 8, 9, 9, tzinfo=dt.UTC).timestamp() * 1e6)
        notifiers = {"pigeon": {"type": "file", "path": "unused"}}
        self.policy = parse_alerts(
            {"notifiers": notifiers, "group_within_s": 0, "deadlines": [], **policy}
        )
        self.restart()

    def restart(self):
        self.alerting = Alerting(
            self.policy,
            lambda: {"pigeon": self.pigeon},
            expected_cells(
                self.bench.assets, Settings(partition_start_date="2024-08-01"), self.policy
            ),
            lambda: self.now_us,
        )

    def tick(self, *, minutes=1):
        self.now_us += minutes * MINUTE_US
        return tick(self.bench.instance, self.alerting)


def test_history_is_not_told(office):
    office.bench.evaluate((CELL, False))
    assert office.tick().signals == 0
    office.bench.evaluate(("2024-08-09|binance", False))
    office.tick()
    assert office.pigeon.subjects == [("opened", "raw_ticks/trades complete 2024-08-09|binance")]


def test_a_late_cell_is_told_at_the_first_tick(sqlite_bench):
    deadline = {"assets": "candles/1m", "by": "08:00"}
    office = Office(sqlite_bench, deadlines=[deadline])
    office.tick()
    told = {subject for _, subject in office.pigeon.subjects}
    assert f"candles/1m {CELL}" in told
    assert len(told) == 2 * 2


def test_an_incident_and_its_recovery_are_told_once_over_restarts(office):
    office.tick()
    office.bench.work = lambda _: office.bench.outcome(has_passed=False)
    office.bench.run(CELL)
    office.tick()
    office.restart()
    office.tick()
    office.bench.run(CELL)
    office.tick()
    subject = f"raw_ticks/trades complete {CELL}"
    assert office.pigeon.subjects == [("opened", subject)]
    office.bench.work = lambda _: office.bench.outcome()
    office.bench.run(CELL)
    office.tick()
    office.restart()
    office.tick()
    assert office.pigeon.subjects == [("opened", subject), ("recovered", subject)]


def test_a_tick_that_fails_is_done_again(office, monkeypatch):
    office.tick()
    office.bench.evaluate((CELL, False))
    office.bench.evaluate(("2024-08-09|binance", False))
    meaning, calls = alert_sensor.look, []

    def fails_once(*args, **more):
        step = meaning(*args, **more)
        calls.append(step)
        if len(calls) == 1:
            raise OSError("the storage went away")
        return step

    monkeypatch.setattr(alert_sensor, "look", fails_once)
    before = read_memory(office.bench.instance)
    with pytest.raises(OSError, match="went away"):
        office.tick()
    assert read_memory(office.bench.instance) == before
    office.tick()
    assert len(office.pigeon.subjects) == 2


def test_what_could_not_be_sent_is_sent_later_and_once(office):
    office.tick()
    office.pigeon.error = VendorUnavailable("pigeon", "lost", remedy="Send another")
    office.bench.evaluate((CELL, False))
    assert len(office.tick().ledger.deliveries) == 1
    office.restart()
    office.pigeon.error = None
    office.tick()
    office.tick()
    assert office.pigeon.subjects == [("opened", f"raw_ticks/trades complete {CELL}")]


def test_a_notifier_with_a_fault_of_its_own_loses_nothing(office):
    office.tick()
    office.pigeon.error = ZeroDivisionError()
    office.bench.evaluate((CELL, False))
    office.tick()
    office.pigeon.error = None
    office.tick()
    assert len(office.pigeon.subjects) == 1


def test_a_backlog_is_read_over_several_ticks_and_nothing_of_it_twice(office, monkeypatch):
    monkeypatch.setattr(alert_sensor, "MAX_PAGES", 2)
    office.tick()
    cells = [(f"cell {number}", False) for number in range(2 * PAGE_SIZE + 1)]
    office.bench.evaluate(*cells)
    first = office.tick()
    assert (first.events, first.is_last) == (2 * PAGE_SIZE, False)
    assert "more events wait" in first.text
    second = office.tick()
    assert (second.events, second.is_last) == (1, True)
    assert "more events wait" not in second.text
    assert len(second.ledger.open_incidents) == len(cells)


def test_place_and_ledger_are_one_stored_text(office):
    office.tick()
    office.bench.evaluate((CELL, False))
    office.tick()
    stored = office.bench.instance.daemon_cursor_storage.get_cursor_values({KEY})
    watch, ledger = read_memory(office.bench.instance)
    assert stored[KEY].count("\n") == 1
    assert watch.cursor == office.bench.instance.event_log_storage.get_maximum_record_id()
    assert len(ledger.open_incidents) == 1


def test_a_tick_over_nothing_new_writes_nothing(office, monkeypatch):
    office.tick()
    office.bench.evaluate((CELL, False))
    office.tick()
    monkeypatch.setattr(alert_sensor, "store_memory", None)
    assert office.tick().text == ("0 events, 0 signals; 1 incidents open, 0 deliveries waiting")


def test_the_sensor_is_there_and_on_where_somebody_is_to_be_told(tmp_path, bench):
    file = tmp_path / "alerts.jsonl"
    policy = parse_alerts({"notifiers": {"log": {"type": "file", "path": str(file)}}})
    settings = Settings(alerts=policy, partition_start_date="2024-08-01")
    sensor = build_definitions(settings).get_repository_def().get_sensor_def("alerts")
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert sensor.minimum_interval_seconds == alert_sensor.INTERVAL_S

    at = round(dt.datetime(2024, 8, 9, 11, tzinfo=dt.UTC).timestamp() * 1e6)
    clock = lambda: at + MINUTE_US * bool(read_memory(bench.instance))  # noqa: E731
    (sensor,) = build_alerts(settings, bench.assets, Timing(clock))
    for _ in range(2):
        with dg.build_sensor_context(instance=bench.instance) as context:
            data = sensor.evaluate_tick(context)
    assert data.skip_message.startswith("0 events, ")
    assert "not materialized by its deadline" in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "policy", [None, AlertPolicy(deadlines=(Deadline(assets=("*",), by=dt.time(1)),))]
)
def test_without_anybody_to_tell_there_is_no_sensor(policy):
    assert build_alerts(Settings(alerts=policy), []) == []
