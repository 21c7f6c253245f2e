"""Pools of a new instance on SQLite: limits from the queue's first look, and what a user sets.

The queue itself is asked in `tests/deploy/test_postgres_instance.py`.
"""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from tickhandler_dagster.instance.pools import INITIAL_LIMITS, TARDIS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def log(tmp_path):
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance.event_log_storage


def limits(log):
    return {pool.name: pool.limit for pool in log.get_pool_limits()}


def test_the_first_look_of_the_queue_finds_every_limit(log):
    assert log.get_concurrency_keys() == set(INITIAL_LIMITS)
    assert limits(log) == dict(INITIAL_LIMITS)
    infos = log.get_concurrency_infos(list(INITIAL_LIMITS))
    assert {pool: info.slot_count for pool, info in infos.items()} == dict(INITIAL_LIMITS)


@pytest.mark.parametrize("has_looked", [False, True])
def test_what_a_user_sets_stays(log, has_looked):
    if has_looked:
        log.get_concurrency_keys()
    log.set_concurrency_slots(TARDIS, 7)
    log.set_concurrency_slots("another", 2)
    assert log.get_concurrency_keys() == {*INITIAL_LIMITS, "another"}
    assert limits(log) == {**INITIAL_LIMITS, TARDIS: 7, "another": 2}
