"""What a mode shows: bars on a terminal, lines elsewhere, a closing table, JSON by itself."""

import json
from types import SimpleNamespace

import pytest

from tickhandler_dagster.cli.mode_runs import Made, PartitionResult
from tickhandler_dagster.cli.mode_screen import SHOWN_ROWS, ModeScreen
from tickhandler_dagster.market.progress import Progress


def result(number=0, **more):
    values = {
        "asset": "raw_ticks/trades",
        "partition": f"day {number:03}",
        "state": Made.MADE,
        "rows": 1_000,
        "seconds": 0.5,
        "errors": (),
        "warnings": (),
        "run_id": "r",
    }
    return PartitionResult(**values | more)


def runs(*results, failures=()):
    is_well = not failures and all(one.is_well for one in results)
    return SimpleNamespace(results=list(results), failures=list(failures), is_well=is_well)


def play(screen):
    with screen.live():
        screen.started("raw_ticks/trades day")
        screen.on_progress(Progress("raw_ticks/trades day", 1, 3, "files", 5))
        screen.ended("raw_ticks/trades day", seconds=1.25, failures=["no key"])


def test_without_a_terminal_there_are_plain_lines(capsys):
    play(ModeScreen(as_json=False))
    assert capsys.readouterr().out == "failed raw_ticks/trades day (1.2 s)\n       no key\n"


def test_on_a_terminal_there_is_a_bar(capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("TERM", "xterm")
    play(ModeScreen(as_json=False))
    told = capsys.readouterr().out
    assert "\x1b[" in told
    assert "no key" in told


def test_json_has_standard_output_for_itself(capsys):
    screen = ModeScreen(as_json=True)
    play(screen)
    screen.close(runs(result(), result(1, warnings=("complete",))), {"report": ["a"]})
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert found["whole"] is True
    assert found["report"] == ["a"]
    assert [one["warnings"] for one in found["partitions"]] == [[], ["complete"]]
    assert "failed raw_ticks/trades day" in told.err


def test_what_is_not_well_comes_first_and_what_is_not_shown_is_counted(capsys):
    many = [result(number) for number in range(SHOWN_ROWS + 5)]
    bad = result(900, state=Made.FAILED, rows=None)
    red = result(901, errors=("schema_holds",))
    ModeScreen(as_json=False).close(runs(*many, bad, red))
    told = capsys.readouterr().out
    lines = [line for line in told.splitlines() if "day 9" in line or "day 0" in line]
    assert ["day 900" in line or "day 901" in line for line in lines[:3]] == [True, True, False]
    assert "schema_holds" in lines[0] + lines[1]
    assert "7 of them not shown" in told
    assert "67 partitions: 1 failed, 66 made; 66,000 rows" in told


@pytest.mark.parametrize(
    ("more", "is_well"),
    [
        ({}, True),
        ({"state": Made.NOTHING}, True),
        ({"warnings": ("complete",)}, True),
        ({"errors": ("complete",)}, False),
        ({"state": Made.FAILED}, False),
        ({"state": Made.SKIPPED}, False),
    ],
)
def test_a_partition_is_well_unless_it_failed_was_not_reached_or_a_check_is_an_error(more, is_well):
    assert result(**more).is_well is is_well
