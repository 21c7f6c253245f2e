"""Laws of instrument keys and of the symbol grammars, for all values hypothesis can think of."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.instrument_key import (
    InstrumentKey,
    InstrumentType,
    OptionType,
    canonical_strike,
)
from tickhandler_dagster.market.paths import RawTickFile, parse_path
from tickhandler_dagster.market.symbols.registry import GRAMMARS, INSTRUMENT_TYPES, parse_symbol
from tickhandler_dagster.market.venues import VenueId

WORD = st.from_regex(r"[A-Z0-9.@$+_À-ÖА-Я]{1,9}", fullmatch=True)
BASE = st.lists(WORD, min_size=1, max_size=3).map("-".join)
STRIKE = st.decimals(
    min_value=Decimal("0.00001"), max_value=Decimal(10**9), places=5, allow_nan=False
).map(lambda strike: canonical_strike(f"{strike:f}"))
EXPIRY = st.dates(dt.date(2000, 1, 1), dt.date(2099, 12, 31))


@st.composite
def instrument_keys(draw):
    kind = draw(st.sampled_from(InstrumentType))
    is_option = kind is InstrumentType.OPTION
    return InstrumentKey(
        draw(st.sampled_from(VenueId)),
        kind,
        draw(BASE),
        draw(WORD),
        expiry=draw(EXPIRY) if kind.is_dated else None,
        strike=draw(STRIKE) if is_option else None,
        option_type=draw(st.sampled_from(OptionType)) if is_option else None,
    )


@given(instrument_keys())
def test_a_key_prints_to_a_text_that_parses_to_the_key(key):
    assert InstrumentKey.parse(str(key)) == key


@given(instrument_keys())
def test_letter_case_and_surrounding_space_do_not_matter(key):
    lower = str(key).lower()
    assume(lower.upper() == str(key))
    assert InstrumentKey.parse(f"  {lower} ") == key


@given(instrument_keys())
def test_a_canonical_text_is_printed_back_as_it_was(key):
    text = str(key)
    assert str(InstrumentKey.parse(text)) == text


@given(instrument_keys(), instrument_keys())
def test_different_keys_print_differently(one, other):
    assert (str(one) == str(other)) == (one == other)


@given(instrument_keys())
def test_a_key_is_a_file_name(key):
    item = RawTickFile(dt.date(2024, 8, 8), "trades", str(key))
    assert parse_path(item.path) == item
    assert not set(str(key)) & set('/\\| \n*?"<>')


@given(st.text())
@example("BINANCE:SPOT_PAIR:BTC-USDT")
def test_any_text_is_a_key_or_is_refused_in_words(text):
    try:
        key = InstrumentKey.parse(text)
    except InvalidInput as error:
        remedy = error.remedy
    else:
        remedy = "none needed"
        assert InstrumentKey.parse(str(key)) == key
    assert remedy


@given(st.integers(1, 10**9), st.integers(0, 4), st.text("0", max_size=3), st.text("0", max_size=3))
def test_equal_strikes_have_one_spelling(units, places, before, after):
    strike = Decimal(units).scaleb(-places)
    point = "" if "." in f"{strike:f}" else "."
    padded = f"{before}{strike:f}{point}{after}".rstrip(".")
    assert canonical_strike(padded) == canonical_strike(f"{strike:f}")
    assert Decimal(canonical_strike(padded)) == strike


@given(
    st.sampled_from(VenueId),
    st.from_regex(r"[A-Z0-9_@-]{1,24}", fullmatch=True),
    st.sampled_from([*INSTRUMENT_TYPES, "combo", "swap"]),
)
@example(VenueId.DERIBIT, "BTC-99QQQ23", "future")
@example(VenueId.BITMEX, "USD", "perpetual")
def test_any_symbol_is_read_or_refused_in_words(venue, symbol, vendor_type):
    try:
        parsed = parse_symbol(venue, symbol, vendor_type)
    except InvalidInput as error:
        refusal = str(error)
    else:
        refusal = None
        assert parsed.key.venue is venue
        assert parsed.key.type is INSTRUMENT_TYPES[vendor_type]
        assert (parsed.expiry is None) == (parsed.key.expiry is None)
        assert InstrumentKey.parse(str(parsed.key)) == parsed.key
    assert refusal is None or symbol in refusal or refusal.startswith(("instrument key", "strike"))


@given(
    st.dates(dt.date(2000, 1, 1), dt.date(2099, 12, 31)),
    st.integers(1, 10**7),
    st.sampled_from(["C", "P"]),
)
def test_an_option_name_says_its_expiry_strike_and_right_on_every_venue(expiry, strike, right):
    names = {
        VenueId.DERIBIT: f"BTC-{expiry.day}{expiry:%b%y}-{strike}-{right}".upper(),
        VenueId.OKEX_OPTIONS: f"BTC-USD-{expiry:%y%m%d}-{strike}-{right}",
    }
    for venue, name in names.items():
        key = parse_symbol(venue, name, "option").key
        assert (key.expiry, key.strike, key.option_type[0]) == (expiry, str(strike), right)


def test_every_venue_has_a_grammar():
    assert set(GRAMMARS) == set(VenueId)


@pytest.mark.parametrize("venue", VenueId)
def test_symbols_that_differ_have_keys_that_differ(venue):
    names = ("SHIBUSDT", "1000SHIBUSDT", "LADYSUSDT", "10000LADYSUSDT", "1INCHUSDT", "INCHUSDT")
    kinds = [
        kind
        for kind in INSTRUMENT_TYPES
        if GRAMMARS[venue](venue, INSTRUMENT_TYPES[kind], names[0])
    ]
    for kind in kinds:
        assert len({str(parse_symbol(venue, name, kind).key) for name in names}) == len(names)
