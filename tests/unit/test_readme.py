"""What the README lists is what the code has."""

from pathlib import Path

from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _default(name, field):
    if name == "lake_root":
        return "lake"
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
    assert settings_table() in README


def test_the_template_names_every_setting():
    template = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert {line.split("=")[0] for line in template.splitlines() if "=" in line} == {
        name.upper() for name in Settings.model_fields
    }


def test_the_graph_names_every_timeframe():
    assert f"candles/{' '.join(Timeframe)}" in README
