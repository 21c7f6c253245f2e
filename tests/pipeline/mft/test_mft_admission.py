"""Features begin when there is memory for all instruments of a timeframe's day."""

from __future__ import annotations

import pytest

from tickhandler_dagster.adapters.machine_memory import MemoryUse
from tickhandler_dagster.adapters.memory_ledger import MemoryLedger
from tickhandler_dagster.market.errors import TransientError
from tickhandler_dagster.pipeline.admission import MemoryGate, features_need


def test_features_ask_by_instruments_and_bars_and_a_refused_cell_is_made_by_another_try(
    mft_lab, tmp_path
):
    mft_lab.put_days(range(2))
    need = features_need(2 * mft_lab.timeframe.bars_per_day)
    room = MemoryUse(10 * need, 0)
    ledger = MemoryLedger(100, folder=tmp_path / "own", memory=lambda: room, own=lambda: None)
    gate = MemoryGate(ledger, pause_s=0.01, longest_s=0.05)
    name = ledger.reserve(10 * need - need // 10)
    with pytest.raises(TransientError, match="not free"):
        mft_lab.build(1, memory=gate)
    ledger.release(name)
    held = ledger.reserve(8 * need)
    assert mft_lab.build(1, memory=gate).built == 2
    assert ledger.reserved_bytes == 8 * need
    ledger.release(held)
