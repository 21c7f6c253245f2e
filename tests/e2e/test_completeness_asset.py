"""The asset `completeness` as a user has it: cells, ranges, checks, policy, and SQL over it."""

from __future__ import annotations

import dagster as dg
import duckdb
import pytest

from tickhandler_dagster.market.completeness_table import COMPLETENESS_TABLE
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.paths import FindingsFile
from tickhandler_dagster.market.quality.findings import FINDINGS_TABLE, Finding, findings_frame
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.completeness import read_completeness
from tickhandler_dagster.sandbox.faults import Fault, FaultRule
from tickhandler_dagster.sandbox.simulator import Simulator

SOURCE = Simulator(11, scale=0.01)
DAYS = ("2024-08-01|binance", "2024-08-02|binance", "2024-08-03|binance")
NOBODY = "2024-08-02|upbit"
KEY = "BINANCE:SPOT_PAIR:BTC-USDT"
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


@pytest.fixture(scope="module")
def platform(open_platform, tmp_path_factory):
    """Two days ingested, one of them with a failed file; a third day and a venue that are not."""
    with open_platform(
        tmp_path_factory.mktemp("complete"),
        SOURCE,
        ["binance", "upbit"],
        more_settings={"download_data_types": "trades"},
    ) as (platform, server):
        platform.prepare("binance", *DAYS)
        platform.prepare("upbit", NOBODY)
        assert platform.run("raw_ticks/trades", partition=DAYS[0]).success
        server.faults.add(FaultRule(Fault.MISSING_FILE, data_type="trades", symbol="BTCUSDT"))
        assert platform.run("raw_ticks/trades", partition=DAYS[1]).success
        server.faults.clear()
        yield platform


def _checks(result):
    return {item.check_name: item for item in result.get_asset_check_evaluations()}


def _metadata(result):
    (event,) = result.get_asset_materialization_events()
    return event.materialization.metadata


def _states(platform, cell):
    return {row.state for row in read_completeness(platform.lake, VenueDay.parse(cell))
            if row.data_type is DataType.TRADES}  # fmt: skip


def test_a_cell_has_its_numbers_its_picture_and_its_columns(platform):
    result = platform.run("completeness", partition=DAYS[0])
    assert result.success
    metadata = _metadata(result)
    rows = read_completeness(platform.lake, VenueDay.parse(DAYS[0]))
    assert metadata["dagster/partition_row_count"].value == len(rows)
    assert "| trades |" in metadata["states by data type"].value
    assert metadata["picture of the states"].value.startswith(
        "![completeness 2024-08-01|binance (simulated)](data:image/png;base64,"
    )
    assert metadata["size in bytes"].value > 0
    assert metadata["time in holes, all instruments"].value.endswith(("ms", "s", "min", "h"))
    node = platform._repository.asset_graph.get(dg.AssetKey("completeness"))
    columns = [column.name for column in node.metadata["dagster/column_schema"].columns]
    assert columns == list(COMPLETENESS_TABLE.names)
    assert set(_checks(result)) == {"complete", "plausible"}


def test_a_failed_file_is_an_error_that_names_instrument_and_reason(platform):
    result = platform.run("completeness", partition=DAYS[1])
    assert result.success
    complete = _checks(result)["complete"]
    assert not complete.passed
    assert complete.severity is ERROR
    listing = complete.metadata["not as they should be"].value
    assert f"| {KEY} | trades | failed |" in listing
    assert complete.metadata["errors"].value == 1


def test_a_day_or_a_venue_that_nobody_ingested_is_a_warning_and_no_hole_in_the_table(platform):
    for cell in (DAYS[2], NOBODY):
        result = platform.run("completeness", partition=cell)
        assert result.success
        assert _states(platform, cell) == {DataState.NOT_INGESTED}
        complete = _checks(result)["complete"]
        assert not complete.passed
        assert complete.severity is WARN


def test_a_day_without_a_universe_names_the_command_that_makes_one(platform):
    result = platform.run("completeness", partition="2024-08-04|binance")
    assert not result.success
    (text,) = platform.failures(result)
    assert "--select instruments --partition '2024-08-04|binance'" in text


def test_a_range_gives_every_cell_its_own_table_and_its_own_checks(platform):
    result = platform.run("completeness", span=(DAYS[0], DAYS[2]))
    assert result.success, platform.failures(result)
    assert _states(platform, DAYS[2]) == {DataState.NOT_INGESTED}
    record = platform.instance.get_latest_materialization_event(dg.AssetKey("completeness"))
    assert record is not None
    found = platform.instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(dg.AssetKey("completeness"), "complete"), limit=20
    )
    by_cell = {
        item.event.dagster_event.asset_check_evaluation_data.partition: (
            item.event.dagster_event.asset_check_evaluation_data
        )
        for item in reversed(found)
        if item.event is not None and item.run_id == result.run_id
    }
    assert by_cell[DAYS[1]].severity is ERROR
    assert by_cell[DAYS[2]].severity is WARN
    assert by_cell[None].severity is ERROR  # the range as a whole


def test_a_broken_rule_of_any_source_is_seen_and_taken_by_the_policy(platform):
    cell = VenueDay.parse(DAYS[0])
    assert _checks(platform.run("completeness", partition=DAYS[0]))["plausible"] is not None
    finding = Finding(
        date=cell.date,
        venue=VenueId.BINANCE,
        source="candles",
        instrument_key=KEY,
        rule=RuleName.ROLL_UP_DIFFERS,
        rows=3,
        of_rows=1440,
        sample="volume 2.0, expected 3.0",
    )
    item = FindingsFile(cell.date, cell.venue, "candles")
    platform.lake.write_table(item, findings_frame([finding]), FINDINGS_TABLE)
    try:
        plausible = _checks(platform.run("completeness", partition=DAYS[0]))["plausible"]
    finally:
        platform.lake.delete(item)
    assert not plausible.passed
    assert plausible.severity is ERROR
    table = plausible.metadata["broken rules"].value
    assert "| error | candles | roll_up_differs |" in table
    assert KEY in table
    assert finding.sample in table


@pytest.mark.parametrize(
    ("policy", "passes", "severity"),
    [
        ([{"states": "failed", "verdict": "warning"}], False, WARN),
        ([{"states": ["failed"], "venues": "upbit", "verdict": "ignore"}], False, ERROR),
        ([{"venues": "binance", "data_types": "trades", "verdict": "ignore"}], True, None),
    ],
)
def test_the_policy_decides_the_severity_of_both_checks(make_platform, policy, passes, severity):
    settings = {"quality_policy": policy, "download_data_types": "trades"}
    platform, server = make_platform(SOURCE, ["binance"], more_settings=settings)
    platform.prepare("binance", DAYS[0])
    server.faults.add(FaultRule(Fault.MISSING_FILE, data_type="trades", symbol="BTCUSDT"))
    for asset in ("raw_ticks/trades", "completeness"):
        complete = _checks(platform.run(asset, partition=DAYS[0]))["complete"]
        assert complete.passed == passes
        assert severity is None or complete.severity is severity


def test_sql_over_the_table_answers_what_is_missing_and_why(platform):
    for cell in DAYS:
        assert platform.run("completeness", partition=cell).success
    files = f"{platform.settings.lake_root}/completeness/by_date/*/venue-binance/*.parquet"
    table = f"read_parquet('{files}', hive_partitioning = false)"
    counts = duckdb.sql(
        f"""
        select date, state, count(*) as instruments from {table}
        where data_type = 'trades' and state in ('failed', 'not_ingested')
        group by date, state order by date
        """  # noqa: S608  (a path of the test)
    ).fetchall()
    assert [(str(date), state) for date, state, _ in counts] == [
        ("2024-08-02", "failed"),
        ("2024-08-03", "not_ingested"),
    ]
    assert counts[0][2] == 1
    ((key, reason),) = duckdb.sql(
        f"select instrument_key, reason from {table} where verdict = 'error'"  # noqa: S608  (as above)
    ).fetchall()
    assert key == KEY
    assert reason
