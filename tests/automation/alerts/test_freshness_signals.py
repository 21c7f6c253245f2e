"""Yesterday's cells are late from their deadline on, and not before; those that came are not."""

import datetime as dt

import dagster as dg
import pytest

from tickhandler_dagster.automation.freshness_signals import (
    LOOK_AGAIN_US,
    expected_cells,
    late_signals,
)
from tickhandler_dagster.market.alerts.policy import AlertPolicy, Deadline
from tickhandler_dagster.market.alerts.signal import IncidentKind
from tickhandler_dagster.settings import Settings

LATE = IncidentKind.LATE_PARTITION
HOUR_US = 3_600_000_000


def _at(day, hour, minute=0):
    return round(dt.datetime(2024, 8, day, hour, minute, tzinfo=dt.UTC).timestamp() * 1e6)


def _expected(bench, *deadlines, **more):
    policy = AlertPolicy(
        deadlines=tuple(
            Deadline(assets=(like,), by=dt.time(hour))
            for like, hour in deadlines or [("raw_ticks/*", 10)]
        )
    )
    given = {"partition_start_date": "2024-08-01", "download_venues": "binance,upbit", **more}
    settings = Settings(instrument_exchanges="binance,upbit", **given)
    return expected_cells(bench.assets, settings, policy)


def _late(bench, expected, now_us):
    found = late_signals(bench.instance, expected, now_us)
    return {one.subject for one in found if one.is_bad}


def test_a_cell_is_late_from_its_deadline_on(bench):
    expected = _expected(bench)
    two_days_ago = {f"raw_ticks/trades 2024-08-07|{venue}" for venue in ("binance", "upbit")}
    yesterday = {f"raw_ticks/trades 2024-08-08|{venue}" for venue in ("binance", "upbit")}
    assert _late(bench, expected, _at(9, 10) - 1) == two_days_ago
    assert _late(bench, expected, _at(9, 10)) == two_days_ago | yesterday
    assert _late(bench, expected, _at(10, 0)) == yesterday


def test_a_cell_that_is_there_is_not_late(sqlite_bench):
    sqlite_bench.run("2024-08-08|binance")
    signals = list(late_signals(sqlite_bench.instance, _expected(sqlite_bench), _at(9, 10)))
    states = {one.subject.rpartition(" ")[2]: one.is_bad for one in signals}
    assert states["2024-08-08|binance"] is False
    assert states["2024-08-08|upbit"] is True
    assert {one.group for one in signals} == {f"partitions of {cell}" for cell in states}
    late = next(one for one in signals if one.is_bad and "08-08|upbit" in one.subject)
    assert late.at_us == _at(9, 10)
    assert late.summary.endswith("not materialized by its deadline, 2024-08-09 10:00 UTC.")


def test_what_comes_later_recovers_however_old(bench):
    bench.run("2024-08-02|binance")
    assert ("raw_ticks/trades 2024-08-02|binance", False) in bench.seen(LATE)


@pytest.mark.parametrize(
    ("more", "cells"),
    [
        ({}, 8),
        ({"download_venues": "upbit"}, 4),
        ({"download_data_types": "quotes"}, 0),
        ({"partition_start_date": "2024-08-08"}, 4),
        ({"partition_end_date": "2024-08-07"}, 4),
    ],
)
def test_only_what_is_downloaded_and_in_the_grid_is_waited_for(bench, more, cells):
    expected = _expected(bench, ("raw_ticks/*", 10), ("candles/*", 10), **more)
    assert len(list(late_signals(bench.instance, expected, _at(9, 12)))) == cells


def test_an_asset_without_a_deadline_or_without_days_is_not_waited_for(bench):
    @dg.asset
    def whole() -> None: ...

    bench.assets.append(whole)
    bench.assets.append(dg.AssetSpec("elsewhere"))
    expected = _expected(bench, ("whole", 1), ("elsewhere", 1), ("candles/*", 11))
    assert [one.asset_key.to_user_string() for one in expected.streams] == ["candles/1m"]


def test_deadlines_are_looked_at_when_one_passed_and_now_and_then(bench):
    expected = _expected(bench)
    assert expected.has_to_look(None, _at(9, 8))
    assert not expected.has_to_look(_at(9, 8), _at(9, 8, 5))
    assert expected.has_to_look(_at(9, 8), _at(9, 8) + LOOK_AGAIN_US)
    assert expected.has_to_look(_at(9, 9, 59), _at(9, 10))
    assert not expected.has_to_look(_at(9, 10), _at(9, 10, 1))
    assert expected.has_to_look(_at(9, 10), _at(9, 9)), "a clock that was set back"


def test_few_partitions_are_asked_for_whatever_the_history(bench):
    asked = []
    storage = bench.instance.event_log_storage
    ask = storage.get_latest_storage_id_by_partition

    def spy(key, kind, partitions):
        asked.append((key.to_user_string(), len(partitions)))
        return ask(key, kind, partitions)

    storage.get_latest_storage_id_by_partition = spy
    list(late_signals(bench.instance, _expected(bench), _at(9, 12)))
    assert asked == [("raw_ticks/trades", 4)]
