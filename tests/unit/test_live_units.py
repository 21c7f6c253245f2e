"""The systemd units of a live session are well formed and name what exists."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
from typer.main import get_command

from tickhandler_dagster.cli.app import app
from tickhandler_dagster.cli.exit_codes import EXIT_PERMANENT
from tickhandler_dagster.settings import Settings

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "streaming"
UNITS = sorted(FOLDER.iterdir())


def parsed(name):
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    unit.optionxform = str
    unit.read(FOLDER / name, encoding="utf-8")
    return unit


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_has_the_sections_of_its_kind(path):
    unit = parsed(path.name)
    kind = path.suffix[1:].capitalize()
    assert {"Unit", kind} <= set(unit.sections()) <= {"Unit", kind, "Install"}
    assert unit["Unit"]["Description"]


def test_the_session_is_started_again_after_everything_but_a_wrong_setting():
    service = parsed("tickhandler-live.service")["Service"]
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == str(EXIT_PERMANENT)
    assert service["KillSignal"] == "SIGTERM"


def test_the_session_is_a_command_with_options_that_exist():
    service = parsed("tickhandler-live.service")["Service"]
    _, name, *rest = service["ExecStart"].split()
    command = get_command(app).commands[name]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {one for one in rest if one.startswith("--")} <= known


def test_the_variables_of_the_session_are_settings_and_the_one_of_the_c_library():
    text = (FOLDER / "tickhandler-live.service").read_text(encoding="utf-8")
    variables = dict(re.findall(r"^Environment=(\w+)=(\S+)$", text, re.MULTILINE))
    assert variables.pop("MALLOC_ARENA_MAX") == "1"
    assert variables
    assert {name.lower() for name in variables} <= set(Settings.model_fields)


def test_the_look_asks_where_the_session_listens():
    command = parsed("tickhandler-live-check.service")["Service"]["ExecStart"]
    host, port = re.search(r"http://([\d.]+):(\d+)/health", command).groups()
    assert (host, int(port)) == (Settings().streaming_host, Settings().streaming_port)


def test_every_unit_that_is_named_is_there():
    names = {path.name for path in UNITS}
    for path in UNITS:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"tickhandler-[\w-]+\.(?:service|timer)", text)) <= names
