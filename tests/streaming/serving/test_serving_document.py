"""The document of the API says what the API takes and tells."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tickhandler_dagster.streaming.serving.application import build_application
from tickhandler_dagster.streaming.serving.bar_memory import DEFAULT_BARS
from tickhandler_dagster.streaming.serving.metrics import exposition
from tickhandler_dagster.streaming.serving.requested import FIELD_MEANINGS
from tickhandler_dagster.streaming.serving.status_board import HealthRule
from tickhandler_dagster.streaming.serving.streams import StreamLimits
from tickhandler_dagster.streaming.serving.subscription import DEFAULT_WAITING

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "live-serving.md"


@pytest.fixture(scope="module")
def text():
    return DOCUMENT.read_text(encoding="utf-8")


def rows(text, header):
    """First cells of the table under a header, without their marks."""
    table = text.split(header)[1].split("\n\n")[0]
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def test_every_field_is_told_with_its_meaning(text):
    assert rows(text, "| field | meaning |") == list(FIELD_MEANINGS)
    for field, meaning in FIELD_MEANINGS.items():
        assert f"| `{field}` | {meaning} |" in text


def test_every_address_is_told(text, broadcast, board):
    application = build_application(broadcast, board)
    addresses = {resource.canonical for resource in application.router.resources()}
    assert set(rows(text, "| address | answer |")) == addresses


def test_every_metric_is_told_with_its_kind_and_labels(text, broadcast, board, bars, tell):
    from doubles.live_bars import batch  # noqa: PLC0415  (for this test alone)

    tell()
    broadcast.publish([batch(bars, stage="provisional")])
    told = dict(
        re.findall(
            r"^\| `([a-z_]+)` \| ((?:gauge|counter|histogram) \|[^|]*)\|", text, re.MULTILINE
        )
    )
    found = {}
    for family in text_string_to_metric_families(exposition(broadcast, board).decode()):
        name = family.name.removeprefix("tickhandler_live_")
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        ordered = ", ".join(sorted(labels, reverse=True))
        found[name + ("_total" if family.type == "counter" else "")] = f"{family.type} | {ordered}"
    assert {name: kind.strip() for name, kind in told.items()} == {
        name: kind.strip() for name, kind in found.items()
    }


def test_its_numbers_are_those_of_the_code(text):
    limits, rule = StreamLimits(), HealthRule()
    for words in (
        f"newest {DEFAULT_BARS} bars",
        f"{DEFAULT_WAITING} batches may wait",
        f"within {limits.send_s:.0f} s cuts",
        f"`status`: every {limits.status_s:.0f} s",
        f"spoken within {rule.max_silence_s:.0f} s",
        f"a row within {rule.max_lag_s:.0f} s",
    ):
        assert words in text.replace("\n", " "), words
