"""The alert policy: forms, defaults, routes, quiet hours, and errors that show no secret."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhandler_dagster.market.alerts.policy import (
    WEEKDAYS,
    AlertPolicy,
    MailSecurity,
    NotifierType,
    is_at_least,
)
from tickhandler_dagster.market.alerts.policy_form import _OPTIONS, parse_alerts
from tickhandler_dagster.market.alerts.signal import IncidentKind, Urgency
from tickhandler_dagster.market.errors import InvalidSetting
from tickhandler_dagster.settings import Settings, load_secrets, load_settings

YAML = """
ALERTS:
  ui: https://dagster.example.com
  notifiers:
    team: {type: slack, url_env: SLACK_WEBHOOK_URL}
    hook: {type: webhook, url_env: HOOK_URL, secret_env: HOOK_SECRET, timeout_s: 5}
    mail:
      type: email
      host: smtp.example.com
      from: tickhandler@example.com
      to: [desk@example.com]
      user_env: SMTP_USER
      password_env: SMTP_PASSWORD
    log: {type: file, path: alerts.jsonl}
  routes:
    - {kinds: [failed_run, exhausted_quota], notify: [team, mail]}
    - {venues: upbit, groups: "candles/*", notify: []}
    - {urgency: error, notify: [team, log]}
  quiet_hours: {timezone: Europe/Berlin, from: 22:00, to: 07:00, weekdays: [sun, mon]}
  group_within_s: 120
  remind_after_s: 86400
  deadlines:
    - {assets: [raw_ticks/options_chain], by: 14:30}
    - {assets: "raw_ticks/*", by: 9:05}
"""


def us(text):
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 1_000_000


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALERTS", raising=False)
    (tmp_path / "a.yaml").write_text(YAML)
    return load_settings(config_file=tmp_path / "a.yaml")


def test_a_policy_of_yaml_says_what_it_says(loaded):
    policy = loaded.alerts
    assert list(policy.notifiers) == ["team", "hook", "mail", "log"]
    assert policy.notifiers["mail"].security is MailSecurity.STARTTLS
    assert policy.notifiers["hook"].timeout_s == 5
    assert policy.secrets == (
        "SLACK_WEBHOOK_URL",
        "HOOK_URL",
        "HOOK_SECRET",
        "SMTP_USER",
        "SMTP_PASSWORD",
    )
    assert (policy.group_within_s, policy.remind_after_s) == (120, 86400)
    assert policy.deadline("raw_ticks/options_chain") == dt.time(14, 30)
    assert policy.deadline("raw_ticks/trades") == dt.time(9, 5)
    assert policy.deadline("candles/1m") is None
    assert policy.address("/runs/1") == "https://dagster.example.com/runs/1"
    assert policy.address("") == ""


def test_a_policy_survives_the_way_to_a_child_process(loaded, monkeypatch):
    monkeypatch.setenv("ALERTS", loaded.variables()["ALERTS"])
    assert load_settings().alerts == loaded.alerts


def test_the_default_tells_nobody_and_has_the_deadline_of_ten():
    assert Settings().alerts is None
    assert AlertPolicy().text == ""
    assert parse_alerts("") == parse_alerts(None) == parse_alerts({}) == AlertPolicy()
    assert parse_alerts(AlertPolicy()) == AlertPolicy()
    assert AlertPolicy().deadline("raw_ticks/trades") == dt.time(10)
    assert AlertPolicy().recipients(IncidentKind.FAILED_RUN, "g", Urgency.ERROR) == ()


@pytest.mark.parametrize(
    ("kind", "group", "urgency", "expected"),
    [
        (IncidentKind.FAILED_RUN, "candles/1m upbit", Urgency.WARNING, ("team", "mail")),
        (IncidentKind.FAILED_CHECK, "candles/1m complete upbit", Urgency.ERROR, ()),
        (IncidentKind.FAILED_CHECK, "candles/1m complete binance", Urgency.ERROR, ("team", "log")),
        (IncidentKind.FAILED_CHECK, "bars/tick upbit", Urgency.ERROR, ("team", "log")),
        (
            IncidentKind.FAILED_CHECK,
            "bars/tick upbit",
            Urgency.WARNING,
            ("team", "hook", "mail", "log"),
        ),
    ],
)
def test_the_first_route_that_takes_it_decides_and_none_means_everybody(
    loaded, kind, group, urgency, expected
):
    assert loaded.alerts.recipients(kind, group, urgency) == expected


def test_a_venue_is_a_word_of_the_group_and_not_a_part_of_one():
    policy = parse_alerts(
        {
            "notifiers": {"a": {"type": "file", "path": "a"}},
            "routes": [{"venues": ["binance"], "notify": []}],
        }
    )
    told = {
        group: policy.recipients(IncidentKind.FAILED_CHECK, group, Urgency.ERROR)
        for group in ("x binance", "x 2024-08-08|binance", "x binance-futures")
    }
    assert list(told.values()) == [(), (), ("a",)]


@pytest.mark.parametrize(
    ("moment", "is_quiet"),
    [
        ("2026-11-22T20:59", False),  # Sunday 21:59 in Berlin
        ("2026-11-22T21:00", True),
        ("2026-11-23T05:59", True),
        ("2026-11-23T06:00", False),
        ("2026-11-24T05:59", True),  # the night that began on Monday
        ("2026-11-24T21:00", False),  # Tuesday is not listed
        ("2026-06-22T05:00", False),  # summer time: 07:00 in Berlin
    ],
)
def test_quiet_hours_follow_the_clock_and_weekdays_of_their_zone(loaded, moment, is_quiet):
    assert loaded.alerts.holds(Urgency.WARNING, us(moment)) is is_quiet
    assert not loaded.alerts.holds(Urgency.ERROR, us(moment))


@pytest.mark.parametrize(
    ("least", "holds_warning", "holds_error"),
    [("warning", False, False), ("error", True, False), ("nothing", True, True)],
)
def test_the_policy_says_what_breaks_through(least, holds_warning, holds_error):
    quiet = {"timezone": "UTC", "from": "09:00", "to": "17:00", "breaks_through": least}
    policy = parse_alerts({"quiet_hours": quiet})
    assert policy.holds(Urgency.WARNING, us("2026-11-22T09:00")) is holds_warning
    assert policy.holds(Urgency.ERROR, us("2026-11-22T16:59")) is holds_error
    assert not policy.holds(Urgency.ERROR, us("2026-11-22T17:00"))
    assert parse_alerts(policy.text) == policy


@given(st.integers(0, 1439), st.integers(0, 1439), st.sets(st.sampled_from(WEEKDAYS)))
def test_a_week_is_quiet_for_as_long_as_its_nights_are(start, end, weekdays):
    quiet = parse_alerts(
        {
            "quiet_hours": {
                "timezone": "UTC",
                "from": start,
                "to": f"{end // 60:02d}:{end % 60:02d}",
                "weekdays": sorted(weekdays),
            }
        }
    ).quiet_hours
    step_min = 15
    found = sum(
        quiet.is_quiet(us("2026-11-02T00:00") + minute * 60_000_000)
        for minute in range(0, 7 * 1440, step_min)
    )
    length = (end - start) % 1440 or 1440
    expected = len(weekdays) * length / step_min
    assert abs(found - expected) <= len(weekdays) + 1


@pytest.mark.parametrize(
    ("given_part", "expected"),
    [
        ("[1]", "the policy: list; expected a mapping with notifiers, "),
        ("not json", "a text; expected a YAML mapping"),
        ({"notifier": {}}, "the policy: unknown name notifier; expected one of notifiers, "),
        ({"notifiers": []}, "notifiers: list; expected a mapping of names"),
        ({"notifiers": {"A b": {}}}, "notifiers: A b; expected a name of lower-case"),
        ({"notifiers": {"a": {"type": "fax"}}}, "notifiers: a: type: fax; expected one of slack"),
        ({"notifiers": {"a": {"type": "slack"}}}, "notifiers: a: no url_env; expected url_env for"),
        (
            {"notifiers": {"a": {"type": "file", "path": "x", "host": "y"}}},
            "notifiers: a of type file: unknown name host; expected one of type, path",
        ),
        (
            {"notifiers": {"a": {"type": "file", "path": " "}}},
            "notifiers: a: path: str; expected a text",
        ),
        ({"routes": {}}, "routes: dict; expected a list of mappings"),
        ({"routes": [{}]}, "routes line 1: no notify; expected notify: names"),
        ({"routes": [{"notify": ["x"]}]}, "routes line 1: notify x; expected a name under notif"),
        ({"routes": [{"notify": [], "kinds": ["x"]}]}, "routes line 1: kinds: x; expected failed_"),
        ({"routes": [{"notify": [], "venues": ["x"]}]}, "routes line 1: venues: x; expected known"),
        ({"routes": [{"notify": [], "groups": 3}]}, "routes line 1: groups: int; expected a name"),
        (
            {"routes": [{"notify": []}, {"notify": [], "urgency": "x"}]},
            "routes line 2: urgency: x; expected one of warning, error",
        ),
        ({"quiet_hours": {"from": "1:00"}}, "quiet_hours: no timezone; expected timezone, from"),
        (
            {"quiet_hours": {"timezone": "Mars", "from": "1:00", "to": "2:00"}},
            "quiet_hours: timezone: Mars; expected the name of a time zone",
        ),
        (
            {"quiet_hours": {"timezone": "UTC", "from": "24:00", "to": "2:00"}},
            "quiet_hours: from: 24:00; expected a time of day",
        ),
        (
            {"quiet_hours": {"timezone": "UTC", "from": True, "to": "2:00"}},
            "quiet_hours: from: True; expected a time of day",
        ),
        (
            {"quiet_hours": {"timezone": "UTC", "from": "1:00", "to": "2:00", "weekdays": "day"}},
            "quiet_hours: weekdays: day; expected one of mon, ",
        ),
        ({"deadlines": [{"assets": "a"}]}, "deadlines line 1: assets; expected assets and by"),
        ({"deadlines": [{"assets": "a", "by": "noon"}]}, "deadlines line 1: by: noon; expected a"),
        ({"group_within_s": -1}, "group_within_s: -1; expected a number from 0 to"),
        ({"group_within_s": 1.5}, "group_within_s: 1.5; expected a whole number"),
        ({"remind_after_s": 5}, "remind_after_s: 5; expected a number from 60 to"),
        ({"forget_after_days": True}, "forget_after_days: True; expected a number"),
        ({"ui": "localhost"}, "ui: localhost; expected an http or https address"),
    ],
)
def test_a_wrong_part_is_named_with_the_rule_it_broke(given_part, expected):
    with pytest.raises(InvalidSetting) as caught:
        parse_alerts(given_part)
    assert str(caught.value).startswith(f"ALERTS: not valid (was {expected}")
    assert str(caught.value).endswith(". See docs/alerts.md.")


MAIL = {"type": "email", "host": "h", "from": "a@b", "to": "a@b"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"to": []}, "notifiers: a: to: nobody; expected at least one address"),
        ({"to": "nobody"}, "notifiers: a: to: nobody; expected addresses such as"),
        ({"port": 70000}, "notifiers: a: port: 70000; expected a number from 1 to 65535"),
        ({"security": "tls"}, "notifiers: a: security: tls; expected one of starttls, ssl, none"),
        ({"user_env": "U"}, "notifiers: a: one of user_env and password_env; expected both"),
    ],
)
def test_a_wrong_option_of_a_mail_server_is_named(options, expected):
    with pytest.raises(InvalidSetting) as caught:
        parse_alerts({"notifiers": {"a": MAIL | options}})
    assert str(caught.value).startswith(f"ALERTS: not valid (was {expected}")


@pytest.mark.parametrize("option", ["url_env", "url", "webhook"])
def test_an_address_written_into_the_policy_is_refused_and_not_repeated(
    option, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    address = "https://hooks.example.com/T0KEN"
    (tmp_path / "a.yaml").write_text(
        f"ALERTS: {{notifiers: {{team: {{type: slack, {option}: '{address}'}}}}}}\n"
    )
    with pytest.raises(InvalidSetting, match="ALERTS: not valid") as caught:
        load_settings(config_file=tmp_path / "a.yaml")
    assert "T0KEN" not in str(caught.value)
    with pytest.raises(InvalidSetting) as caught:
        parse_alerts(f"{{'url': '{address}'")
    assert "T0KEN" not in str(caught.value)


def test_secrets_come_from_the_environment_else_from_the_file_and_stay_hidden(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("HOOK_A=from-$file\nHOOK_B=from-file\nHOOK_D=\n")
    monkeypatch.setenv("HOOK_B", "from-environment")
    found = load_secrets(["HOOK_A", "HOOK_B", "HOOK_C", "HOOK_D"])
    assert {name: secret.get_secret_value() for name, secret in found.items()} == {
        "HOOK_A": "from-$file",
        "HOOK_B": "from-environment",
    }
    assert "from-" not in repr(found)


def test_tables_over_enums_are_total():
    assert set(_OPTIONS) == set(NotifierType)
    assert is_at_least(Urgency.ERROR, Urgency.WARNING)
    assert not is_at_least(Urgency.WARNING, Urgency.ERROR)


def test_the_readmes_example_is_a_policy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ALERTS", raising=False)
    page = (Path(__file__).resolve().parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(ALERTS:.*?)```", page, re.DOTALL)
    (tmp_path / "a.yaml").write_text(example)
    policy = load_settings(config_file=tmp_path / "a.yaml").alerts
    assert {spec.type for spec in policy.notifiers.values()} == set(NotifierType)
    assert policy.deadlines == AlertPolicy().deadlines
