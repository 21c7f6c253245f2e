"""Bars begin when there is memory for an instrument's day: they wait, or refuse, and are whole."""

from __future__ import annotations

import threading

import pytest

from tickhandler_dagster.adapters.machine_memory import MemoryUse
from tickhandler_dagster.adapters.memory_ledger import MemoryLedger
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import InvalidSetting, TransientError
from tickhandler_dagster.pipeline.admission import DAY_AT_LEAST, MemoryGate, bars_need

ROOM = MemoryUse(1_000_000_000, 0)


def gate_over(ledger, *, longest_s=60):
    return MemoryGate(ledger, pause_s=0.01, longest_s=longest_s)


@pytest.fixture
def ledger(tmp_path):
    return MemoryLedger(90, folder=tmp_path / "ledger", memory=lambda: ROOM, own=lambda: None)


@pytest.fixture
def lab(make_lab):
    lab = make_lab("lake")
    lab.put_market(lab.one, DataType.TRADES, DataType.QUOTES)
    return lab


class Watched(MemoryGate):
    """Notes what is asked for."""

    def __init__(self, ledger):
        super().__init__(ledger)
        self.asked = []

    def held(self, need_bytes):
        self.asked.append(need_bytes)
        return super().held(need_bytes)


def test_an_instrument_asks_for_what_its_files_weigh_and_one_that_is_there_for_nothing(lab, ledger):
    gate = Watched(ledger)
    built = lab.build(memory=gate)
    rows = sum(row.rows for rows in lab.raw_rows.values() for row in rows.values())
    assert gate.asked == [bars_need(rows)]
    assert gate.asked[0] > DAY_AT_LEAST
    assert built.memory_wait_s == 0.0
    assert lab.build(memory=gate).is_no_op
    assert len(gate.asked) == 1
    assert ledger.reserved_bytes == 0


def test_a_build_waits_for_others_and_ends_in_the_same_bytes(lab, make_lab, ledger):
    name = ledger.reserve(800_000_000)
    threading.Timer(0.3, ledger.release, [name]).start()
    built = lab.build(memory=gate_over(ledger))
    assert built.memory_wait_s >= 0.2
    other = make_lab("other")
    other.put_market(other.one, DataType.TRADES, DataType.QUOTES)
    assert other.build().memory_wait_s == 0.0
    assert lab.written() == other.written()


def test_a_build_that_finds_no_memory_writes_nothing_and_another_try_heals_it(lab, ledger):
    name = ledger.reserve(800_000_000)
    with pytest.raises(TransientError, match="MEMORY_THRESHOLD_PERCENT"):
        lab.build(memory=gate_over(ledger, longest_s=0.05))
    assert lab.written() == {}
    ledger.release(name)
    assert lab.build(memory=gate_over(ledger)).built == 1


def test_on_a_machine_that_is_too_small_a_build_refuses_at_once(lab, tmp_path):
    small = MemoryLedger(
        90, folder=tmp_path / "ledger", memory=lambda: MemoryUse(100_000_000, 0), own=lambda: None
    )
    with pytest.raises(InvalidSetting, match="less than one piece of work needs"):
        lab.build(memory=gate_over(small))
    assert lab.written() == {}
