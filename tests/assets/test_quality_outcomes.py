"""What a person reads of missing and broken data: verdicts, tables, and the picture."""

from __future__ import annotations

import datetime as dt
import io
import re
from pathlib import Path

import dagster as dg
import pytest
import yaml
from PIL import Image

from tickhandler_dagster.checks.completeness import cell_outcome, ingest_outcome, states_table
from tickhandler_dagster.checks.findings import findings_outcome
from tickhandler_dagster.checks.outcomes import CheckOutcome, ticks_outcome
from tickhandler_dagster.checks.policy import POLICY, CheckName
from tickhandler_dagster.market.completeness_table import Completeness
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.gaps import Gap, GapKind
from tickhandler_dagster.market.quality.policy import (
    DEFAULT_OF_STATE,
    QualityPolicy,
    Subject,
    Verdict,
    parse_policy,
)
from tickhandler_dagster.market.quality.rules import RuleName
from tickhandler_dagster.market.quality.verdicts import RANK
from tickhandler_dagster.market.schema_check import SchemaFailure, SchemaReport
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.reporting.completeness_pictures import NOT_OFFERED, draw_completeness
from tickhandler_dagster.reporting.pictures import STATE_COLOURS

DAY = dt.date(2024, 8, 8)
KEY = "BINANCE:SPOT_PAIR:BTC-USDT"
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
PAGE = Path(__file__).resolve().parents[2] / "docs" / "completeness.md"


def row(state, *, key=KEY, data_type=DataType.TRADES, verdict=None, **more):
    return Completeness(
        date=DAY,
        venue=VenueId.BINANCE,
        data_type=data_type,
        instrument_key=key,
        instrument_type="SPOT_PAIR",
        state=state,
        reason=f"because it is {state}",
        verdict=verdict or DEFAULT_OF_STATE[state],
        is_simulated=True,
        **more,
    )


def finding(rule, *, source="trades", key=KEY, rows=2):
    return Finding(
        date=DAY,
        venue=VenueId.BINANCE,
        source=source,
        instrument_key=key,
        rule=rule,
        rows=rows,
        of_rows=100,
        sample=f"sample of {rows}",
    )


def hole(minutes, *, key=KEY):
    start = dt.datetime(2024, 8, 8, 14, tzinfo=dt.UTC)
    return Gap(
        date=DAY,
        venue=VenueId.BINANCE,
        data_type=DataType.TRADES,
        instrument_key=key,
        kind=GapKind.INCIDENT,
        gap_start=start,
        gap_end=start + dt.timedelta(minutes=minutes),
        evidence=f"no rows for {minutes} min",
    )


def ingest(rows, *, policy=None, **more):
    more = {"gaps": (), "findings": ()} | more
    return ingest_outcome(rows, policy or QualityPolicy(), **more)


@pytest.mark.parametrize("state", DataState)
def test_every_state_fails_the_check_as_the_policy_takes_it(state):
    for outcome in (ingest([row(state)]), cell_outcome([row(state)])):
        verdict = DEFAULT_OF_STATE[state]
        assert outcome.has_passed == (verdict is Verdict.IGNORE)
        assert outcome.severity is (ERROR if verdict is Verdict.ERROR else WARN)
        assert ("not as they should be" in outcome.metadata) == (verdict is not Verdict.IGNORE)


@pytest.mark.parametrize("state", DataState)
def test_an_attempt_that_replaced_nothing_counts_as_its_state_does_and_is_listed(state):
    verdict = DEFAULT_OF_STATE[state]
    outcome = ingest([row(DataState.PRESENT)], attempts=[row(state)])
    assert outcome.has_passed == (verdict is Verdict.IGNORE)
    assert outcome.severity is (ERROR if verdict is Verdict.ERROR else WARN)
    assert outcome.metadata["asked for again and not replaced"].value == 1
    assert f"because it is {state}" in outcome.metadata["what the last attempt came to"].value
    assert "not as they should be" not in outcome.metadata
    assert outcome.metadata["missing"].value == 0


def test_one_error_among_warnings_makes_an_error_and_stands_on_top():
    outcome = cell_outcome([
        row(DataState.PARTIAL, key="BINANCE:SPOT_PAIR:A-USDT", gap_us=5),
        row(DataState.PARTIAL, key="BINANCE:SPOT_PAIR:B-USDT", gap_us=50),
        row(DataState.FAILED, key="BINANCE:SPOT_PAIR:C-USDT"),
        row(DataState.PRESENT, key="BINANCE:SPOT_PAIR:D-USDT"),
    ])  # fmt: skip
    assert outcome.severity is ERROR
    lines = outcome.metadata["not as they should be"].value.splitlines()[2:]
    assert [line.split(" | ")[0][-6] for line in lines] == ["C", "B", "A"]
    assert "because it is failed" in lines[0]
    assert outcome.metadata["errors"].value == 1
    assert outcome.metadata["warnings"].value == 2


def test_what_is_missing_and_ignored_is_counted_apart():
    outcome = cell_outcome(
        [row(DataState.NOT_INGESTED, verdict=Verdict.IGNORE), row(DataState.INCIDENT)]
    )
    assert outcome.metadata["missing"].value == 1
    assert outcome.metadata["missing and ignored"].value == 1


def test_the_table_of_states_has_a_line_per_type_and_no_column_of_zeros():
    text = states_table([row(DataState.PRESENT), row(DataState.EMPTY, data_type=DataType.QUOTES)])
    assert text.splitlines() == [
        "| data type | present | empty |",
        "|---|---|---|",
        "| quotes | 0 | 1 |",
        "| trades | 1 | 0 |",
    ]


def test_holes_are_listed_with_their_proof_the_longest_first():
    outcome = ingest([row(DataState.PARTIAL)], gaps=[hole(1), hole(10)])
    lines = outcome.metadata["holes"].value.splitlines()[2:]
    assert lines[0] == f"| {KEY} | 14:00:00 | 14:10:00 | incident | no rows for 10 min |"
    assert len(lines) == 2


def test_a_broken_rule_fails_a_partition_that_has_everything():
    outcome = ingest([row(DataState.PRESENT)], findings=[finding(RuleName.SILENCE)])
    assert not outcome.has_passed
    assert outcome.severity is WARN
    assert "silence" in outcome.metadata["broken rules"].value
    ignored = ingest([row(DataState.PRESENT)], findings=[finding(RuleName.CROSSED_BOOK)])
    assert ignored.has_passed


def test_findings_are_grouped_by_rule_with_instruments_rows_and_the_largest_sample():
    found = [finding(RuleName.SILENCE, key=f"BINANCE:SPOT_PAIR:A{n}-USDT", rows=n)
             for n in range(1, 8)]  # fmt: skip
    found.append(finding(RuleName.ROLL_UP_DIFFERS, source="candles"))
    outcome = findings_outcome(found, QualityPolicy())
    assert outcome.name is CheckName.PLAUSIBLE
    assert outcome.severity is ERROR
    first, second = outcome.metadata["broken rules"].value.splitlines()[2:]
    assert first.startswith("| error | candles | roll_up_differs |")
    assert "and 2 more | 28 | sample of 7 |" in second
    counts = {name: outcome.metadata[name].value for name in ("findings", "errors", "warnings")}
    assert counts == {"findings": 8, "errors": 1, "warnings": 7}


def test_a_policy_line_turns_a_warning_into_an_error_and_another_ignores():
    lines = [{"rules": "silence", "venues": "binance", "verdict": "error"},
             {"data_types": "trades", "rules": "resnapshot", "verdict": "ignore"}]  # fmt: skip
    policy = parse_policy(lines)
    assert findings_outcome([finding(RuleName.SILENCE)], policy).severity is ERROR
    assert findings_outcome([finding(RuleName.RESNAPSHOT)], policy).has_passed
    assert not findings_outcome([finding(RuleName.RESNAPSHOT, source="quotes")], policy).has_passed


def test_nothing_found_is_plausible():
    outcome = findings_outcome([], QualityPolicy())
    assert outcome.has_passed
    assert "broken rules" not in outcome.metadata


def test_rows_that_are_nowhere_fail_the_schema_check_unless_the_policy_ignores_them():
    lost = [finding(RuleName.ROWS_NOT_CONSERVED, rows=7), finding(RuleName.SILENCE)]
    outcome = ticks_outcome(SchemaReport(rows=10), lost, QualityPolicy())
    assert (outcome.name, outcome.has_passed, outcome.severity) == (
        CheckName.SCHEMA_HOLDS,
        False,
        ERROR,
    )
    assert outcome.metadata["rows not conserved"].value == 7
    assert "sample of 7" in outcome.metadata["rows that are nowhere"].value
    lenient = parse_policy([{"rules": "rows_not_conserved", "verdict": "ignore"}])
    assert ticks_outcome(SchemaReport(rows=10), lost, lenient).has_passed
    broken = SchemaReport(rows=10, failures=[SchemaFailure(KEY, "price", "gt", 1, ("0",))])
    assert ticks_outcome(broken, [], lenient).severity is ERROR


def test_a_check_that_the_policy_does_not_decide_has_a_severity_of_its_own():
    assert set(POLICY) == set(CheckName)
    outcome = CheckOutcome(CheckName.CONSERVES_TRADES, has_passed=False, metadata={})
    assert outcome.severity is POLICY[CheckName.CONSERVES_TRADES].severity
    assert set(RANK) == set(Verdict)


def test_the_policy_in_the_docs_is_one_and_says_what_the_text_says():
    (text,) = re.findall(r"```yaml\n(QUALITY_POLICY:.*?)```", PAGE.read_text(), re.DOTALL)
    policy = parse_policy(yaml.safe_load(text)["QUALITY_POLICY"])
    deribit = Subject(VenueId.DERIBIT, DataType.TRADES)
    assert policy.of_state(deribit, DataState.PARTIAL) is Verdict.ERROR
    assert policy.of_state(Subject(VenueId.UPBIT), DataState.FAILED) is Verdict.WARNING
    assert len(policy.rules) == 3


def test_a_thousand_instruments_are_a_small_picture_that_shows_one_bad_file():
    types = [data_type.value for data_type in DataType]
    lines = [(f"DERIBIT:OPTION:{n}", [DataState.PRESENT] * len(types)) for n in range(1200)]
    lines[0] = ("DERIBIT:OPTION:0", [DataState.FAILED, *[DataState.PRESENT] * 7, None])
    png = draw_completeness("completeness", types, lines)
    assert len(png) < 50_000
    # Not by the legend's patches, which have the colour too: those lie below the matrix.
    pixels = Image.open(io.BytesIO(png)).convert("RGB")
    top = pixels.crop((0, 0, pixels.width, pixels.height // 4)).getcolors(maxcolors=100_000)
    for colour in (STATE_COLOURS[DataState.FAILED], NOT_OFFERED):
        aim = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        assert any(
            all(abs(have - want) < 12 for have, want in zip(found, aim, strict=True))
            for _, found in top
        ), colour


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_picture_is_drawn_of_any_number_of_instruments(count):
    lines = [(f"KEY:{n}", list(DataState)) for n in range(count)]
    png = draw_completeness("completeness", list(DataState), lines)
    assert png.startswith(b"\x89PNG")
    assert len(png) < 50_000
