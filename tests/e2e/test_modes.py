"""Every mode of the command against the sandbox, checked by the lake, the instance, the tables."""

import json
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from doubles.installation import moved_in, new_home, settings_over
from doubles.small_market import SmallMarket
from typer.testing import CliRunner

from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.cli.app import app
from tickhandler_dagster.cli.command_table import COMMANDS, LIVE_COMMANDS
from tickhandler_dagster.cli.modes import STEPS, Mode
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.sandbox.faults import Fault, FaultRule
from tickhandler_dagster.sandbox.server import SandboxServer

VENUES = ("binance", "okex-swap")
# Two of each venue: one that a restricted download takes, and one that it leaves.
MARKET = ("BTCUSDT", "ETHUSDT", "BTC-USDT-SWAP", "ETH-USDT-SWAP")
TYPES = ("trades", "derivative_ticker")
DAYS = ("2024-08-08", "2024-08-09", "2024-08-10")
SPAN = ("--start-date", DAYS[0], "--end-date", DAYS[1])


class Shop:
    """An installation in this process: settings in the environment, an instance, a vendor."""

    def __init__(self, settings, server):
        self.settings = settings
        self.server = server
        self.lake = build_lake(settings)

    def tell(self, *words):
        return CliRunner().invoke(app, list(words))

    def tell_json(self, *words, code=0):
        told = self.tell(*words, "--json")
        assert told.exit_code == code, (told.output, told.exception)
        return json.loads(told.stdout)

    def instance(self):
        return dg.DagsterInstance.from_config(str(self.settings.dagster_home))

    def states(self, day, venue, data_type="trades"):
        rows = read_raw_manifest(self.lake, VenueDay.parse(f"{day}|{venue}"), DataType(data_type))
        return {row.instrument_key: row for row in rows or []}

    def asked_files(self):
        paths = [one.path for one in self.server.requests if one.path.endswith(".csv.gz")]
        self.server.forget_requests()
        return [path for path in paths if path.startswith("/v1/")]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    root = tmp_path_factory.mktemp("modes")
    with SandboxServer(SmallMarket(*MARKET)) as server:
        settings = settings_over(
            server, root, VENUES, days=DAYS, download_data_types=TYPES, dagster_home=new_home(root)
        )
        with moved_in(settings, root):
            yield Shop(settings, server)


@pytest.fixture(scope="module")
def restricted(shop):
    """A first download that was told to take one instrument of each partition."""
    return shop.tell_json("download", *SPAN, "--max-instruments", "1", "--data-types", "trades")


@pytest.fixture(scope="module")
def downloaded(shop, restricted):
    """Then all of it, in the form of the earlier system."""
    shop.asked_files()
    found = shop.tell_json("--mode", "download", *SPAN, "--venues", "BINANCE", "okx-swap")
    return found, shop.asked_files()


@pytest.fixture(scope="module")
def candles(shop, downloaded):
    return shop.tell_json("candle-processing", *SPAN)


def test_a_restricted_download_never_looks_whole(shop, restricted):
    assert restricted["whole"] is True
    raw = [one for one in restricted["partitions"] if one["asset"] == "raw_ticks/trades"]
    assert {one["partition"] for one in raw} == {f"{day}|{v}" for day in DAYS[:2] for v in VENUES}
    assert all("complete" in one["warnings"] for one in raw)


def test_what_was_left_out_is_missing_in_the_manifest_and_named_by_the_run(shop, tmp_path):
    words = ("--start-date", DAYS[2], "--end-date", DAYS[2], "--venues", "binance")
    found = shop.tell_json("download", *words, "--max-instruments", "1", "--data-types", "trades")
    rows = shop.states(DAYS[2], "binance")
    taken = [row for row in rows.values() if row.state is DataState.PRESENT]
    others = [row for row in rows.values() if row.state is DataState.NOT_INGESTED]
    assert len(taken) == 1
    assert len(others) == len(rows) - 1 > 0
    assert all("restricted to 1 instruments" in row.reason for row in others)
    run_id = next(
        one["run_id"] for one in found["partitions"] if one["asset"] == "raw_ticks/trades"
    )
    with shop.instance() as instance:
        run = instance.get_run_by_id(run_id)
    assert run.tags["tickhandler/max_instruments"] == "1"
    assert run.tags["tickhandler/mode"] == "download"
    assert run.run_config["ops"]["raw_ticks__trades"]["config"] == {"max_instruments": 1}

    again = shop.tell("download", *words, "--max-instruments", "1", "--data-types", "trades")
    assert again.exit_code == 0, again.output
    assert len([one for one in shop.states(DAYS[2], "binance").values() if one.bytes]) == 1
    none = shop.tell_json("download", *words, "--instrument-types", "perp")
    assert shop.states(DAYS[2], "binance").keys() == rows.keys()
    assert none["whole"] is True


def test_a_download_in_the_old_form_fetches_the_rest_and_nothing_twice(shop, downloaded):
    found, asked = downloaded
    assert found["whole"] is True
    assert len(asked) == len(set(asked)) > 0
    for day in DAYS[:2]:
        for venue in VENUES:
            states = {row.state for row in shop.states(day, venue).values()}
            assert states <= {DataState.PRESENT, DataState.EMPTY}
        assert shop.states(day, "okex-swap", "derivative_ticker")
    shop.tell_json("download", *SPAN)
    assert shop.asked_files() == []


def test_a_forced_download_fetches_again_with_so_many_workers(shop, downloaded):
    found = shop.tell_json(
        *("download", "--start-date", DAYS[0], "--end-date", DAYS[0], "--venues", "binance"),
        *("--data-types", "trades", "--force", "--max-workers", "2"),
    )
    assert len(shop.asked_files()) == len(shop.states(DAYS[0], "binance"))
    with shop.instance() as instance:
        run = instance.get_run_by_id(found["partitions"][-1]["run_id"])
    config = run.run_config["ops"]["raw_ticks__trades"]["config"]
    assert config == {"force": True, "max_workers": 2}
    assert run.job_name == "__ASSET_JOB"


def test_instruments_are_listed_anew(shop):
    told = shop.tell("instruments", *SPAN, "--exchanges", "okex-swap", "--verbose")
    assert told.exit_code == 0, told.output
    assert "ok     exchange_catalog okex-swap" in told.output
    assert "ok     instruments 2024-08-08|okex-swap...2024-08-09|okex-swap" in told.output
    assert "3 partitions: 3 made" in told.output


def test_candles_features_and_tables_come_from_the_ticks(shop, candles):
    assert candles["whole"] is True
    made = {one["asset"] for one in candles["partitions"] if one["state"] == "made"}
    assert {"candles/15s", "candles/24h"} <= made
    assert all(one["rows"] for one in candles["partitions"] if one["asset"] == "candles/1m")

    features = shop.tell_json("mft-processing", *SPAN)
    assert not features["failed_runs"]
    assert list(Path(shop.settings.lake_root).glob(f"mft_features/by_date/day-{DAYS[1]}/*"))

    told = shop.tell("bigquery-upload", *SPAN)
    assert told.exit_code == 0, told.output
    file = next(Path(shop.settings.warehouse_folder).glob("*.duckdb"))
    with duckdb.connect(str(file), read_only=True) as connection:
        rows = connection.sql(
            "select count(*), count(distinct ts_open::timestamp::date) from candles_1h"
        ).fetchone()
    assert rows[0] > 0
    assert rows[1] == len(DAYS[:2])


def test_the_whole_pipeline_in_the_old_form(shop, candles):
    found = shop.tell_json(
        *("--mode", "full-pipeline-ticks", *SPAN),
        *("--exchanges", "binance", "okex-swap", "--venues", "okex-swap"),
    )
    assert found["validate"]["passed"]
    assert found["validate"]["failed"] == {}
    assert {Path(path).suffix for path in found["report"]} == {".html", ".csv", ".parquet"}
    listed = {one["partition"] for one in found["partitions"] if one["asset"] == "instruments"}
    assert listed == {f"{day}|{venue}" for day in DAYS[:2] for venue in VENUES}
    fetched = {
        one["partition"].split("|")[1]
        for one in found["partitions"]
        if one["asset"].startswith("raw_ticks/")
    }
    assert fetched == {"okex-swap"}


def test_the_whole_pipeline_goes_on_to_features_and_tables_if_asked(shop, candles):
    words = ("--start-date", DAYS[1], "--end-date", DAYS[1], "--venues", "okex-swap", "--all")
    found = shop.tell_json("full-pipeline-ticks", *words)
    families = {one["asset"].partition("/")[0] for one in found["partitions"]}
    assert families >= {"instruments", "raw_ticks", "candles", "mft_features", "warehouse"}


def test_status_tells_what_is_there_and_what_is_not(shop, candles):
    found = shop.tell_json("status", "--start-date", DAYS[0], "--end-date", DAYS[2])
    trades = found["assets"]["candles/1m"]
    assert (trades["partitions"], trades["materialized"], trades["missing"]) == (6, 4, 2)
    assert trades["not_materialized"] == {f"{DAYS[2]}|{venue}": "missing" for venue in VENUES}
    assert found["daemon"] is False
    assert found["runs"] == []
    told = shop.tell("status", *SPAN, "--assets", "candles", "raw_ticks/trades")
    assert told.exit_code == 0, told.output
    assert "candles/24h" in told.output
    assert "none queued or running" in told.output


def test_a_backfill_is_planned_and_refused_without_a_daemon(shop, candles):
    words = ("backfill", "--start-date", DAYS[0], "--end-date", DAYS[2], "--assets", "candles/1m")
    found = shop.tell_json(*words, "--missing", "--dry-run")
    assert [part["assets"] for part in found["parts"]] == [
        {"candles/1m": [f"{DAYS[2]}|{venue}"]} for venue in VENUES
    ]
    told = shop.tell(*words)
    assert "daemon: not running" in str(told.exception)
    told = shop.tell(*words[:-1], "candles/1m", "warehouse/candles_1m")
    assert "--wait" in str(told.exception)
    told = shop.tell("backfill", *SPAN, "--assets", "candles/1m", "--missing")
    assert told.exit_code == 0
    assert "Nothing to do" in told.output


def test_a_run_that_fails_is_exit_code_one_with_its_reason(shop, downloaded):
    day = ("--start-date", DAYS[2], "--end-date", DAYS[2])
    shop.server.faults.add(FaultRule(Fault.QUOTA_EXHAUSTED, data_type="trades"))
    found = shop.tell_json("download", *day, "--venues", "okex-swap", code=1)
    shop.server.faults.clear()
    assert found["whole"] is False
    assert found["failed_runs"]
    failed = [one for one in found["partitions"] if one["state"] == "failed"]
    assert [one["asset"] for one in failed] == ["raw_ticks/trades"]


FORCED = (
    *("download", "--start-date", DAYS[0], "--end-date", DAYS[0], "--venues", "binance"),
    *("--data-types", "trades", "--force"),
)


def complete(shop, run_id, partition):
    """The evaluation of the check `complete` of a partition of raw trades."""
    with shop.instance() as instance:
        records = instance.all_logs(run_id)
    (found,) = [
        one
        for record in records
        if record.dagster_event
        and record.dagster_event.event_type_value == "ASSET_CHECK_EVALUATION"
        and (one := record.dagster_event.asset_check_evaluation_data).check_name == "complete"
        and one.partition == partition
    ]
    return found


def test_a_forced_download_with_a_revoked_key_fails_says_why_and_loses_nothing(
    shop, downloaded, monkeypatch
):
    cell = f"{DAYS[0]}|binance"
    store = shop.lake.store
    before = {path: store.read(path) for path in store.list("")}
    with shop.instance() as instance:
        made = instance.get_latest_materialization_event(dg.AssetKey(["raw_ticks", "trades"]))
    monkeypatch.setenv("TARDIS_API_KEY", "TD.revoked")
    told = shop.tell_json(*FORCED, code=1)
    assert told["whole"] is False
    (reason,) = told["failed_runs"]
    assert "no file could be fetched again" in reason
    assert "the key, or its absence, does not cover it" in reason
    assert "revoked" not in json.dumps(told)
    (raw,) = [one for one in told["partitions"] if one["asset"] == "raw_ticks/trades"]
    assert raw["state"] == "failed"
    assert raw["warnings"] == ["complete"]
    found = complete(shop, raw["run_id"], cell)
    files = len(shop.states(DAYS[0], "binance"))
    assert found.metadata["asked for again and not replaced"].value == files
    assert "no_entitlement" in found.metadata["what the last attempt came to"].value
    after = {path: store.read(path) for path in store.list("")}
    assert {path: after[path] for path in before} == before
    with shop.instance() as instance:
        key = dg.AssetKey(["raw_ticks", "trades"])
        assert instance.get_latest_materialization_event(key).run_id == made.run_id
    assert "no file could be fetched again" in shop.tell(*FORCED).output
    monkeypatch.undo()
    healed = shop.tell_json(*FORCED[:-1])
    assert healed["whole"] is True


def test_a_forced_download_that_fetches_some_files_warns_with_counts(shop, downloaded):
    cell = f"{DAYS[0]}|binance"
    before = shop.states(DAYS[0], "binance")
    name, row = next((name, row) for name, row in before.items() if row.bytes)
    rule = FaultRule(Fault.CORRUPT_GZIP, data_type="trades", symbol=row.tardis_symbol)
    shop.server.faults.add(rule)
    told = shop.tell_json(*FORCED, code=1)
    shop.server.faults.clear()
    assert told["failed_runs"] == []
    (raw,) = [one for one in told["partitions"] if one["asset"] == "raw_ticks/trades"]
    assert (raw["state"], raw["failed_checks"]) == ("made", ["complete"])
    found = complete(shop, raw["run_id"], cell)
    assert found.metadata["asked for again and not replaced"].value == 1
    listed = found.metadata["what the last attempt came to"].value
    assert name in listed
    assert "quarantined" in listed
    assert shop.states(DAYS[0], "binance") == before
    shop.tell_json(*FORCED)


WRONG = {
    "a date": (
        ("download", "--start-date", "2023/05/23", "--end-date", DAYS[0]),
        "'2023/05/23': not a date (expected YYYY-MM-DD)",
    ),
    "the order": (
        ("candle-processing", "--start-date", DAYS[1], "--end-date", DAYS[0]),
        "before --start-date",
    ),
    "the grid": (
        ("download", "--start-date", "2024-08-06", "--end-date", DAYS[0]),
        "2024-08-06 to 2024-08-07: not in the partition grid (expected days from 2024-08-08",
    ),
    "a venue": (("download", *SPAN, "--venues", "binanse"), "Did you mean binance?"),
    "a venue beside the grid": (
        ("instruments", *SPAN, "--venues", "upbit"),
        "upbit: not in the partition grid",
    ),
    "a data type": (("download", *SPAN, "--data-types", "trade"), "Did you mean trades?"),
    "an instrument type": (
        ("download", *SPAN, "--instrument-types", "swap"),
        "not an instrument type (expected one of SPOT_PAIR, PERPETUAL",
    ),
    "an asset": (("status", *SPAN, "--assets", "candels"), "Did you mean candles?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_was_typed_wrong_is_a_sentence(shop, name):
    words, text = WRONG[name]
    assert text in str(shop.tell(*words).exception)


def test_an_unknown_mode_is_answered_with_the_nearest(shop):
    told = shop.tell("--mode", "downlod", *SPAN)
    assert told.exit_code == 2
    assert "download" in told.output


def test_a_shell_is_offered_modes_and_the_values_of_lists(shop, monkeypatch):
    def offered(line, number):
        told = CliRunner().invoke(
            app,
            env={
                "_TICKHANDLER_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(number),
            },
            prog_name="tickhandler",
        )
        return told.output.split()

    assert "download" in offered("tickhandler down", 1)
    assert offered("tickhandler download --venues deribit,okex-s", 3) == ["deribit,okex-swap"]
    assert "book_ticker" in offered("tickhandler download --data-types book", 3)


PRINTED = {
    "check-gaps": "Nothing is missing.",
    "instruments": "4 partitions: 4 made",
    "missing-tick-reports": "completeness.html",
    "download": "raw_ticks/trades",
    "candle-processing": "candles/24h",
    "mft-processing": "mft_features/1h",
    "bigquery-upload": "warehouse/candles_1h",
    "validate": "rolls_up",
    "full-pipeline-ticks": "missing-tick-reports:",
    "plan": "Nothing to do",
    "report": "completeness.html",
    "status": "none queued or running",
    "repair": "Nothing to repair.",
    "backfill": "not running",
}


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.new.split(" ")[0])
def test_every_line_of_the_table_does_what_it_says(shop, candles, line):
    words = [DAYS[0] if word == "D" else word for word in line.new.split(" ")]
    told = shop.tell(*words)
    # The backfill alone needs a daemon: tests/e2e/test_backfill_command.py has one.
    assert told.exit_code == (1 if words[0] == "backfill" else 0), (told.output, told.exception)
    assert PRINTED[words[0]] in told.output + str(told.exception)
    if line.old:
        old = shop.tell("--mode", line.old, "--help")
        assert old.output == shop.tell(words[0], "--help").output


@pytest.mark.parametrize("line", LIVE_COMMANDS, ids=lambda line: line.old)
def test_live_modes_are_taken_in_both_forms(line):
    # What they do is in the tests of streaming.
    old, new = (
        CliRunner().invoke(app, [*words, "--help"])
        for words in (["--mode", line.old], [line.new.split(" ")[0]])
    )
    assert (old.exit_code, old.output) == (0, new.output)


def test_the_table_has_every_mode():
    named = {line.new.split(" ")[0] for line in COMMANDS}
    assert named == set(PRINTED)
    assert set(STEPS) == set(Mode)
    assert {str(mode) for mode in Mode} < named
    assert all(line.old in {"", line.new.split(" ")[0]} for line in COMMANDS)


def test_a_validation_of_some_data_types_is_decided_by_these(shop, candles):
    file = next(
        Path(shop.settings.lake_root).glob(
            f"raw_tick_data/by_date/day-{DAYS[1]}/data_type-derivative_ticker/*.parquet"
        )
    )
    kept = file.read_bytes()
    file.unlink()
    words = ("validate", "--start-date", DAYS[1], "--end-date", DAYS[1], "--venues", "okex-swap")
    both = shop.tell_json(*words, code=1)
    assert both["failed"]["completeness/complete"] == [f"{DAYS[1]}|okex-swap"]
    trades = shop.tell_json(*words, "--data-types", "trades")
    assert trades["passed"]["completeness/complete"] == 1
    ticker = shop.tell_json(*words, "--data-types", "derivative_ticker", code=1)
    assert ticker["failed"]["completeness/complete"] == [f"{DAYS[1]}|okex-swap"]
    file.write_bytes(kept)
    shop.tell("check-gaps", "--start-date", DAYS[1], "--end-date", DAYS[1])
