"""Every named fault leads to the state it should, leaves the others alone, and heals."""

import datetime as dt
import gzip

import dagster as dg
import pytest

from tickhandler_dagster.assets import retries
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import QuarantinedFile, QuarantinedRows
from tickhandler_dagster.market.quality.policy import DEFAULT_OF_STATE, Verdict
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.completeness import read_completeness
from tickhandler_dagster.sandbox.faults import Fault, FaultRule
from tickhandler_dagster.sandbox.simulator import Simulator

SYMBOL, KEY = "BTCUSDT", "BINANCE:SPOT_PAIR:BTC-USDT"
FIRST = dt.date(2024, 8, 1)
SOURCE = Simulator(11, scale=0.02)

# The state while the fault lasts; what the vendor's client repeats is over before we see it.
STATES = {
    Fault.MISSING_FILE: DataState.FAILED,
    Fault.QUOTA_EXHAUSTED: DataState.FAILED,
    Fault.IP_LOCKED: DataState.FAILED,
    Fault.RATE_LIMITED: DataState.PRESENT,
    Fault.SERVER_ERROR: DataState.PRESENT,
    Fault.TRUNCATED_BODY: DataState.PRESENT,
    Fault.CORRUPT_GZIP: DataState.QUARANTINED,
    Fault.CUT_LAST_ROW: DataState.QUARANTINED,
    Fault.WRONG_HEADER: DataState.QUARANTINED,
    Fault.HTML_NOT_GZIP: DataState.QUARANTINED,
    Fault.OUT_OF_ORDER: DataState.QUARANTINED,
    Fault.EMPTY_BODY: DataState.EMPTY,
    Fault.EMPTY_GZIP: DataState.EMPTY,
    Fault.HEADER_ONLY: DataState.EMPTY,
    Fault.DUPLICATES: DataState.PRESENT,
    Fault.ZERO_VALUES: DataState.PRESENT,
    Fault.NEGATIVE_VALUES: DataState.PRESENT,
}
ONCE = {Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.TRUNCATED_BODY}
KEEPS_ROWS_OUT = {Fault.DUPLICATES, Fault.ZERO_VALUES, Fault.NEGATIVE_VALUES}
# Trades kept aside leave holes in numbers that count up: the table and the check know of them.
WITH_HOLES = {Fault.ZERO_VALUES, Fault.NEGATIVE_VALUES}
ENDS_THE_RUN = {Fault.QUOTA_EXHAUSTED, Fault.IP_LOCKED}
SEVERITIES = {
    Verdict.ERROR: dg.AssetCheckSeverity.ERROR,
    Verdict.WARNING: dg.AssetCheckSeverity.WARN,
}
FORCE = {"ops": {"raw_ticks__trades": {"config": {"force": True}}}}


def test_every_fault_has_a_state():
    assert set(STATES) == set(Fault)


@pytest.fixture(scope="module")
def vendor(open_platform, tmp_path_factory):
    root, trades_alone = tmp_path_factory.mktemp("faults"), {"download_data_types": "trades"}
    with open_platform(root, SOURCE, ["binance"], more_settings=trades_alone) as (
        platform,
        server,
    ):
        last = FIRST + dt.timedelta(days=len(Fault) - 1)
        assert platform.run("exchange_catalog", partition="binance").success
        assert platform.run("instruments", span=(f"{FIRST}|binance", f"{last}|binance")).success
        yield platform, server


def _true_rows(date):
    data = SOURCE.dataset(VenueId.BINANCE, DataType.TRADES, date, SYMBOL)
    return len(gzip.decompress(data).splitlines()) - 1


def _complete(result):
    """The evaluation of the run's check `complete`."""
    (found,) = [
        item for item in result.get_asset_check_evaluations() if item.check_name == "complete"
    ]
    return found


def _row(platform, cell):
    """The row of the faulty instrument in the table `completeness`."""
    (found,) = [
        row
        for row in read_completeness(platform.lake, VenueDay.parse(cell))
        if (row.data_type, row.instrument_key) == (DataType.TRADES, KEY)
    ]
    return found


@pytest.mark.parametrize("fault", Fault)
def test_a_fault_has_its_state_and_heals(vendor, monkeypatch, fault):
    platform, server = vendor
    monkeypatch.setattr(retries, "LONGEST_WAIT_S", 5.0)
    date = FIRST + dt.timedelta(days=list(Fault).index(fault))
    cell = f"{date}|binance"
    times = 1 if fault in ONCE else None
    server.faults.add(FaultRule(fault, data_type="trades", symbol=SYMBOL, times=times))
    result = platform.run("raw_ticks/trades", partition=cell)
    server.faults.clear()

    states = platform.states(cell)
    row = states.pop(SYMBOL)
    assert row.state is STATES[fault], row
    assert result.success == (fault not in ENDS_THE_RUN)
    state = DataState.PARTIAL if fault in WITH_HOLES else row.state
    verdict = DEFAULT_OF_STATE[state]
    complete = _complete(result)
    assert complete.passed == (verdict is Verdict.IGNORE)
    if not complete.passed:  # the run stays green, the cell is red
        assert complete.severity is SEVERITIES[verdict]
        assert KEY in complete.metadata["not as they should be"].value
    if fault not in ENDS_THE_RUN:
        assert not any(other.state.is_missing for other in states.values())
    if row.state.is_missing:
        assert row.reason
    rows_aside = QuarantinedRows(date, DataType.TRADES, KEY)
    file_aside = QuarantinedFile(date, DataType.TRADES, VenueId.BINANCE, SYMBOL)
    assert platform.lake.exists(rows_aside) == (fault in KEEPS_ROWS_OUT)
    assert platform.lake.exists(file_aside) == (row.state is DataState.QUARANTINED)
    assert row.rows + row.quarantined_rows == row.source_rows
    if fault is Fault.DUPLICATES:
        assert row.duplicate_rows == row.quarantined_rows > 0
        assert row.rows == _true_rows(date)

    looked = platform.run("completeness", partition=cell)
    assert looked.success, platform.failures(looked)
    known = _row(platform, cell)
    assert (known.state, known.verdict) == (state, verdict)
    assert known.reason
    assert _complete(looked).passed == (verdict is Verdict.IGNORE)
    if not _complete(looked).passed:
        assert _complete(looked).severity is SEVERITIES[verdict]

    # A settled state is the vendor's word; only `force` asks again.
    healed = platform.run(
        "raw_ticks/trades", partition=cell, config=FORCE if not row.state.is_missing else None
    )
    assert healed.success, platform.failures(healed)
    after = platform.states(cell)
    assert after[SYMBOL].state is DataState.PRESENT
    assert after[SYMBOL].rows == _true_rows(date)
    assert not platform.lake.exists(rows_aside)
    assert not platform.lake.exists(file_aside)
    assert all(platform.checks(healed).values())
    assert platform.run("completeness", partition=cell).success
    assert _row(platform, cell).state is DataState.PRESENT
