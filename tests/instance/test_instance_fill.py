"""The benchmark's bulk writer against Dagster's own, and a tick with years behind it."""

from __future__ import annotations

import datetime as dt
import importlib
import shutil
import sys
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as db
from dagster import DagsterEventType
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._serdes import deserialize_value

from tickhandler_dagster.automation.alert_sensor import Alerting, tick
from tickhandler_dagster.automation.freshness_signals import Expected, Stream
from tickhandler_dagster.market.alerts.policy_form import parse_alerts
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.partitions.grid import build_grid

ROOT = Path(__file__).resolve().parents[2]
FIRST = dt.date(2024, 1, 1)
VENUES = (VenueId("binance"), VenueId("deribit"))
KEY = dg.AssetKey(["raw_ticks", "trades"])
CHECKS = ("complete", "schema_holds")
POLICY = parse_alerts('{"notifiers": {"log": {"type": "file", "path": "unused"}}}')


@pytest.fixture(scope="module")
def fill():
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("instance_fill")
    finally:
        sys.path.remove(folder)


@pytest.fixture
def open_filled(fill, tmp_path):
    """`open_filled(days)`: an instance with so many days of one asset, and the writer."""
    opened = []

    def open_one(days):
        home = tmp_path / f"home{days}"
        home.mkdir()
        shutil.copy(ROOT / "dagster.yaml", home)
        instance = dg.DagsterInstance.from_config(str(home))
        opened.append(instance)
        stream = fill.Stream(KEY, CHECKS, frozenset(venue.value for venue in VENUES))
        filled = fill.Fill(instance, [stream])
        filled.write(FIRST, days, [venue.value for venue in VENUES])
        return instance, filled

    yield open_one
    for instance in opened:
        instance.dispose()


def rows_of(instance, table):
    with instance.event_log_storage.index_connection() as connection:
        return [dict(row) for row in connection.execute(db.select(table)).mappings()]


def test_every_row_is_what_dagster_stores_for_the_same_event(
    fill, open_filled, tmp_path, monkeypatch
):
    monkeypatch.setattr(fill, "FAILED_ONE_IN", 3)
    bulk, filled = open_filled(4)
    home = tmp_path / "one_by_one"
    home.mkdir()
    with dg.DagsterInstance.from_config(str(home)) as plain:
        written = rows_of(bulk, SqlEventLogStorageTable)
        assert len(written) == filled.events
        for row in written:
            event = deserialize_value(row["event"], dg.EventLogEntry)
            plain.event_log_storage.store_event(event)
        assert rows_of(plain, SqlEventLogStorageTable) == written
        ours, theirs = (
            {
                (row["asset_key"], row["check_name"], row["partition"], row["run_id"]): {
                    name: value
                    for name, value in row.items()
                    if name not in {"id", "create_timestamp"}
                }
                for row in rows_of(one, AssetCheckExecutionsTable)
            }
            for one in (bulk, plain)
        )
        assert ours.keys() == theirs.keys()
        assert ours == theirs
        assert bulk.get_asset_keys() == plain.get_asset_keys() == [KEY]
    texts = [deserialize_value(row["event"], dg.EventLogEntry) for row in written]
    made = [one for one in texts if one.dagster_event.is_step_materialization]
    assert made[0] == fill.entry(
        made[0].run_id,
        made[0].timestamp,
        DagsterEventType.ASSET_MATERIALIZATION,
        fill.materialization(KEY, made[0].dagster_event.partition),
        KEY.to_python_identifier(),
    )


def test_a_status_is_as_dagster_has_it_after_months(open_filled):
    days = 60
    instance, filled = open_filled(days)
    key = dg.AssetCheckKey(KEY, "complete")
    definition = build_grid(VENUES, FIRST, FIRST + dt.timedelta(days=days - 1)).core
    state = instance.event_log_storage.get_asset_check_state([(key, definition)])[key]
    sizes = {status.value: subset.size for status, subset in state.subsets.items()}
    assert filled.cells == days * len(VENUES)
    assert sum(sizes.values()) == filled.cells
    assert sizes["SKIPPED"] == 1


def queries_of(instance, monkeypatch, do):
    """How often the storage is asked while something is done, and what was done."""
    storage = instance.event_log_storage
    queries = []
    connect = storage.index_connection

    def counted():
        queries.append(1)
        return connect()

    with monkeypatch.context() as patched:
        patched.setattr(storage, "index_connection", counted)
        done = do()
    return len(queries), done


def test_a_tick_does_not_depend_on_the_years_behind_it(open_filled, fill, monkeypatch):
    found = []
    for days in (20, 80):
        instance, _ = open_filled(days)
        last = FIRST + dt.timedelta(days=days - 1)
        now = dt.datetime.combine(last, dt.time(12), dt.UTC) + dt.timedelta(days=1)
        now_us = int(now.timestamp()) * 1_000_000
        alerting = Alerting(
            policy=POLICY,
            notifiers=dict,
            expected=Expected((Stream(KEY, VENUES, dt.time(10)),), FIRST, last),
            clock=lambda at=now_us: at,
        )
        first = queries_of(instance, monkeypatch, lambda a=alerting: tick(instance, a))  # noqa: B023  (called at once)
        target = (1, "f" * 36, now.timestamp())
        failed = fill.evaluation(KEY, "complete", f"{FIRST}|binance", target, has_passed=False)
        event = fill.entry(
            "f" * 36,
            now.timestamp() - 60,
            DagsterEventType.ASSET_CHECK_EVALUATION,
            failed,
        )
        instance.event_log_storage.store_event(event)
        second = queries_of(instance, monkeypatch, lambda a=alerting: tick(instance, a))  # noqa: B023  (called at once)
        assert first[1].events == 0
        assert second[1].events == 1
        assert len(second[1].ledger.open_incidents) == len(first[1].ledger.open_incidents) + 1
        found.append([first[0], second[0], first[1].signals, second[1].signals])
    assert found[0] == found[1]
