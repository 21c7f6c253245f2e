"""Keys that do not cover a request, days before a venue's first, and secrets that never show."""

import datetime as dt

import dagster as dg
import pytest
from dagster_shared.serdes import serialize_value

from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.sandbox.dataset_gate import KeyRights
from tickhandler_dagster.sandbox.faults import Fault, FaultRule
from tickhandler_dagster.sandbox.simulator import Simulator

SOURCE = Simulator(3, scale=0.01)
KEY = "TD.a-secret-that-must-not-show"
CELL = "2024-08-08|binance"


def _everything_said(platform, capfd):
    """All events of all runs as they are stored, and all that went to the terminal."""
    told = capfd.readouterr()
    events = [
        serialize_value(entry)
        for run in platform.instance.get_runs()
        for entry in platform.instance.all_logs(run.run_id)
    ]
    return "\n".join([*events, told.out, told.err])


def test_a_key_without_entitlement_is_said_and_nothing_is_lost(make_platform, capfd):
    rights = KeyRights(exchanges=frozenset({"deribit"}))
    platform, _ = make_platform(SOURCE, ["binance"], key=KEY, api_keys={KEY: rights})
    platform.prepare("binance", "2024-08-01|binance", CELL)
    free = platform.run("raw_ticks/trades", partition="2024-08-01|binance")
    assert free.success
    before = platform.bytes()
    denied = platform.run("raw_ticks/trades", partition=CELL)
    assert not denied.success
    assert "does not cover it" in platform.failures(denied)[0]
    assert "Set TARDIS_API_KEY to a key that does" in platform.failures(denied)[0]
    assert {row.state for row in platform.states(CELL).values()} == {DataState.NO_ENTITLEMENT}
    assert before.items() <= platform.bytes().items()
    assert KEY not in _everything_said(platform, capfd)


def test_without_a_key_the_variable_is_named(make_platform):
    platform, _ = make_platform(SOURCE, ["binance"], key=None)
    platform.prepare("binance", CELL)
    denied = platform.run("raw_ticks/trades", partition=CELL)
    assert platform.failures(denied)[0].startswith("TARDIS_API_KEY: not set")


def test_a_key_shows_in_no_event_log_or_traceback(make_platform, capfd):
    platform, server = make_platform(SOURCE, ["binance"], key=KEY, api_keys={KEY: KeyRights()})
    platform.prepare("binance", CELL)
    server.faults.add(FaultRule(Fault.QUOTA_EXHAUSTED, symbol="ETHUSDT"))
    server.faults.add(FaultRule(Fault.MISSING_FILE, symbol="BTCUSDT"))
    assert not platform.run("raw_ticks/trades", partition=CELL).success
    said = _everything_said(platform, capfd)
    assert "quota" in said
    assert KEY not in said
    assert "X-Amz" not in said
    assert "signature=" not in said


def test_a_day_before_the_venues_first_names_the_first(make_platform):
    platform, _ = make_platform(SOURCE, ["binance"], start="2024-06-01")
    assert platform.run("exchange_catalog", partition="binance").success
    early = platform.run("instruments", partition="2024-06-15|binance")
    assert not early.success
    assert "before the venue's first day" in platform.failures(early)[0]
    assert "2024-07-01" in platform.failures(early)[0]


def test_a_day_that_is_not_exported_yet_is_a_state_not_an_error(make_platform):
    platform, _ = make_platform(SOURCE, ["binance"])
    platform.prepare("binance", "2025-01-02|binance")
    result = platform.run("raw_ticks/trades", partition="2025-01-02|binance")
    assert result.success
    states = {row.state for row in platform.states("2025-01-02|binance").values()}
    assert states == {DataState.NOT_EXPORTED_YET}
    assert platform.checks(result)["raw_ticks/trades", "complete"] is False
    materialized = platform.instance.get_materialized_partitions(
        dg.AssetKey(["raw_ticks", "trades"])
    )
    assert "2025-01-02|binance" not in materialized


@pytest.mark.parametrize("venues", [["deribit", "binance"], ["binance", "deribit"]])
def test_the_grid_keeps_the_order_of_the_settings(make_platform, venues):
    platform, _ = make_platform(SOURCE, venues)
    assert [str(venue) for venue in platform.settings.grid_venues] == venues
    assert platform.settings.partition_start_date == dt.date(2024, 8, 1)
