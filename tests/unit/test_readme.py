"""What README and docs list is what the code has."""

from pathlib import Path

from tickhandler_dagster.cli.command_table import command_table
from tickhandler_dagster.market.paths import KINDS
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"


def _default(name, field):
    if isinstance(field.default, Path):
        return str(field.default)
    if isinstance(field.default, tuple):
        return "all"
    return "" if field.default is None else f"{field.default}"


def settings_table():
    rows = [
        f"| `{name.upper()}` | {_default(name, field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | what it is |", "|---|---|---|", *rows])


def test_the_settings_table_is_that_of_the_settings():
    assert settings_table() in (DOCS / "settings.md").read_text(encoding="utf-8")


def test_the_template_names_every_setting():
    template = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = {line.removeprefix("# ").split("=")[0] for line in template.splitlines() if "=" in line}
    assert named == {name.upper() for name in Settings.model_fields}


def test_the_template_sets_nothing_as_it_is():
    template = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert [line for line in template.splitlines() if line and not line.startswith("#")] == []


def test_the_graph_names_every_timeframe():
    assert f"candles/{' '.join(Timeframe)}" in README


def test_the_architecture_names_every_path_and_every_state():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert all(f"\n{kind.form}\n" in text for kind in KINDS)
    assert all(f"`{state}`" in text for state in DataState)
    layers = {path.name for path in (ROOT / "tickhandler_dagster").iterdir() if path.is_dir()}
    assert all(f"`{layer}/`" in text for layer in layers - {"__pycache__"})


def test_the_table_of_commands_is_that_of_the_command():
    assert command_table() in (DOCS / "commands.md").read_text(encoding="utf-8")
