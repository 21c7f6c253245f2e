"""Reading a vendor's JSON: every wrong field is named."""

from __future__ import annotations

import datetime as dt

import pytest

from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.json_fields import JsonObject, canonical_json


def reply(**fields):
    return JsonObject("reply", {"a": fields}).child("a")


@pytest.mark.parametrize(
    ("read", "value"),
    [
        ("text", None),
        ("text", ""),
        ("text", 7),
        ("texts", None),
        ("texts", "trades"),
        ("texts", ["trades", 7]),
        ("time", "yesterday"),
        ("time", "2024-08-08T00:00:00"),
        ("time", 1_723_075_200),
        ("number", "ten"),
        ("number", True),
        ("number", [1]),
        ("number", "inf"),
        ("flag", "true"),
        ("flag", 1),
        ("child", None),
        ("child", []),
        ("children", {}),
        ("children", None),
    ],
)
def test_a_field_of_another_type_is_named(read, value):
    with pytest.raises(CorruptData, match=r"^reply, a\.x: "):
        tuple(getattr(reply(x=value), read)("x"))  # a list is read item by item


def test_an_item_of_a_list_is_named_with_its_place():
    with pytest.raises(CorruptData, match=r"^reply, a\.x\[1\]: not a JSON object"):
        list(reply(x=[{}, 7]).children("x"))


def test_a_reply_that_is_no_object_is_refused():
    with pytest.raises(CorruptData, match=r"^reply: not a JSON object"):
        JsonObject("reply", [])


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(CorruptData) as caught:
        reply(x=["y" * 10_000, 7]).texts("x")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("value", "number"), [(1, 1.0), (0.5, 0.5), ("0.0001", 0.0001), ("1e-4", 1e-4), ("", None)]
)
def test_a_number_may_be_written_as_text(value, number):
    assert reply(x=value).number("x") == number


def test_a_missing_number_is_none_and_a_missing_flag_is_false():
    assert reply().number("x") is None
    assert reply().flag("x") is False
    assert reply(x=True).flag("x") is True
    assert not reply(x=None).has("x")


def test_a_time_is_read_with_its_offset():
    moment = reply(x="2024-08-08T02:00:00.000+02:00").time("x")
    assert moment == dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
    assert moment.tzinfo is dt.UTC


def test_canonical_bytes_do_not_depend_on_the_order_of_fields():
    assert canonical_json({"b": "é", "a": 1}) == canonical_json({"a": 1, "b": "é"})
