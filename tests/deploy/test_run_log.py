"""What a run writes to its console where LOG_FORMAT is json."""

from __future__ import annotations

import json

import dagster as dg
import pytest

from tickhandler_dagster.resources.run_log import install_console
from tickhandler_dagster.settings import Settings


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["2024-08-08|binance"]))
def ticks(context):
    context.log.warning("two lines,\nand ünïcode")
    message = "no such file"
    raise RuntimeError(message)


@pytest.fixture(autouse=True)
def _text_again():
    yield
    install_console(Settings())


NAMED = {"loggers": {"console": {"config": {"log_level": "DEBUG"}}}}


@pytest.fixture(params=[{}, NAMED], ids=["no logger named", "console named"])
def lines(capfd, request):
    definitions = dg.Definitions(
        assets=[ticks], loggers=install_console(Settings(log_format="json"))
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(
            instance=instance,
            partition_key="2024-08-08|binance",
            raise_on_error=False,
            run_config=request.param,
        )
    return result.run_id, [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_every_line_is_an_object_that_says_when_how_grave_and_of_which_run(lines):
    run_id, entries = lines
    assert entries
    for entry in entries:
        assert entry["run_id"] == run_id
        assert entry["partition"] == "2024-08-08|binance"
        assert entry["severity"] in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}
        assert entry["time"].endswith("Z")


def test_our_text_is_whole_and_dagster_s_events_have_their_name(lines):
    _, entries = lines
    by_text = {entry["message"]: entry for entry in entries}
    warning = by_text["two lines,\nand ünïcode"]
    assert (warning["severity"], warning["step"]) == ("WARNING", "ticks")
    events = {entry.get("event") for entry in entries}
    assert {"STEP_START", "STEP_FAILURE", "PIPELINE_FAILURE"} <= events
    failure = next(entry for entry in entries if entry.get("event") == "STEP_FAILURE")
    assert failure["severity"] == "ERROR"


def test_text_is_what_dagster_has_by_itself(capfd):
    install_console(Settings(log_format="json"))
    assert install_console(Settings()) == {}
    dg.materialize([dg.asset(name="one")(lambda: None)])
    told = capfd.readouterr().err
    assert "ASSET_MATERIALIZATION" in told
    assert "{" not in told.split()[0]
