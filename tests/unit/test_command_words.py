"""The words of a command line: the earlier forms mean what the new ones mean."""

import logging

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.cli.app import app
from tickhandler_dagster.cli.arguments import LIST_OPTIONS, joined_lists, new_form
from tickhandler_dagster.cli.command_table import COMMANDS
from tickhandler_dagster.cli.options import LogLevel, chosen_settings
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.restriction import Restriction, parse_instrument_type

COMMAND = typer.main.get_command(app)
WORDS = st.lists(st.sampled_from(["deribit", "upbit", "okex"]), min_size=1, max_size=4)


@given(some=st.lists(WORDS, min_size=1, max_size=3))
def test_a_list_may_have_commas_spaces_or_several_options(some):
    joined = ",".join(dict.fromkeys(word for words in some for word in words))
    expected = ["download", "--venues", joined, "-v"]
    spaced = [part for words in some for part in ("--venues", *words)]
    commas = [part for words in some for part in ("--venues", ",".join(words))]
    signs = [f"--venues={','.join(words)}" for words in some]
    for form in (spaced, commas, signs):
        assert joined_lists(["download", *form, "-v"]) == expected


@given(words=st.lists(st.sampled_from(["download", "-v", "--start-date", "2024-08-08", "--force"])))
def test_words_without_a_list_or_a_mode_stay_as_they_are(words):
    assert joined_lists(new_form(words)) == words


@given(before=st.sampled_from([[], ["-v"], ["--start-date", "D"]]), is_signed=st.booleans())
def test_a_mode_is_a_command_wherever_it_stands(before, is_signed):
    mode = ["--mode=validate"] if is_signed else ["--mode", "validate"]
    assert new_form([*before, *mode, "--json"]) == ["validate", *before, "--json"]


def test_names_that_only_the_earlier_code_took_are_taken():
    assert new_form(["--mode", "missing-reports"]) == ["missing-tick-reports"]
    assert new_form(["--mode", "full-pipeline", "--force-download"]) == [
        "full-pipeline-ticks",
        "--force",
    ]


def test_an_option_without_its_value_is_left_to_the_parser():
    assert all(joined_lists(["download", name]) == ["download", name] for name in LIST_OPTIONS)
    assert new_form(["--mode"]) == []


def test_instrument_types_have_their_earlier_names():
    assert parse_instrument_type("PERP") is InstrumentType.PERPETUAL
    assert parse_instrument_type("spot_pair") is InstrumentType.SPOT_PAIR
    with pytest.raises(InvalidInput, match="Did you mean option"):
        parse_instrument_type("options")
    with pytest.raises(InvalidInput, match="negative"):
        Restriction(max_instruments=-1)


@pytest.mark.parametrize("name", ["run", "recheck", *(line.new.split()[0] for line in COMMANDS)])
def test_every_command_over_days_takes_a_log_level(name):
    levels = [one for one in COMMAND.commands[name].params if one.name == "log_level"]
    assert [one.opts for one in levels] == [["--log-level"]]


def test_a_log_level_is_that_of_the_settings_and_of_this_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    own = logging.getLogger("tickhandler_dagster")
    monkeypatch.setattr(own, "level", own.level)
    assert chosen_settings(None, None, None).log_level == "ERROR"
    assert own.level == logging.ERROR
    assert chosen_settings(None, None, LogLevel.DEBUG).log_level == "DEBUG"
    assert own.level == logging.DEBUG
