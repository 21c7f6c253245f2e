"""What each of the fourteen venues lists, in its own spelling.

What belongs here: spot pairs, perpetuals and dated futures, and the dates they follow. Options are
`option_listings.py`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tickhandler_dagster.market.days import US_PER_DAY, day_start_us
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.sandbox.latent import LatentPrices
from tickhandler_dagster.sandbox.listing import Activity, Kind, Listing, Margin
from tickhandler_dagster.sandbox.option_listings import option_listings

EXPIRY_HOUR_US = US_PER_DAY // 3
"""08:00 UTC, when everything dated expires on these venues."""

LIQUID = Activity(20_000, 15_000, 3_000, 250)
MIDDLE = Activity(10_000, 8_000, 1_500, 120, level_usd=12_000)
SECOND = Activity(3_000, 4_000, 800, 40, level_usd=8_000)
QUIET = Activity(25, 250, 150, 2, level_usd=800, depth=12, idle_share=0.25)
_LARGE = {VenueId.UPBIT: 15, VenueId.HYPERLIQUID: 20}

_MONTH_CODES = {3: "H", 6: "M", 9: "U", 12: "Z"}
_QUARTER_LISTED_DAYS = 180


@dataclass(frozen=True, slots=True)
class Window:
    """The days the simulator has, and the day on which coins are listed and delisted.

    Attributes:
        first: First day.
        end: Day after the last.
        event: A coin is listed at noon of this day and another delisted at 10:00; terms change at
            its midnight.
    """

    first: dt.date
    end: dt.date
    event: dt.date

    @property
    def first_us(self) -> int:
        """00:00 of the first day."""
        return day_start_us(self.first)


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the tables below; names as in `Listing`."""

    raw_id: str
    base: str
    quote: str
    tick: float
    lot: float
    activity: Activity
    margin: Margin = Margin.LINEAR
    settle: str = ""
    multiplier: float = 1.0
    kind: Kind = Kind.PERPETUAL
    price_factor: float = 1.0


def _spot(raw_id: str, pair: str, steps: tuple[float, float], activity: Activity) -> _Row:
    base, quote = pair.split("/")
    return _Row(raw_id, base, quote, *steps, activity, kind=Kind.SPOT)


_INVERSE = Margin.INVERSE
_B, _E = (0.01, 0.00001), (0.01, 0.0001)

_ROWS: dict[VenueId, tuple[_Row, ...]] = {
    VenueId.BINANCE: (
        _spot("btcusdt", "BTC/USDT", _B, LIQUID),
        _spot("ethusdt", "ETH/USDT", _E, MIDDLE),
        _spot("xrpusdt", "XRP/USDT", (0.0001, 1.0), QUIET),
        _spot("tonusdt", "TON/USDT", (0.001, 0.01), QUIET),
        _spot("wavesusdt", "WAVES/USDT", (0.0001, 0.01), QUIET),
    ),
    VenueId.BINANCE_FUTURES: (
        _Row("btcusdt", "BTC", "USDT", 0.1, 0.001, LIQUID),
        _Row("ethusdt", "ETH", "USDT", 0.01, 0.001, MIDDLE),
        _Row("btcusdc", "BTC", "USDC", 0.1, 0.001, SECOND),
        _Row("xrpusdt", "XRP", "USDT", 0.0001, 0.1, QUIET),
        _Row("tonusdt", "TON", "USDT", 0.001, 0.1, QUIET),
        _Row("wavesusdt", "WAVES", "USDT", 0.0001, 0.1, QUIET),
        _Row("btcusdt_{yymmdd}", "BTC", "USDT", 0.1, 0.001, SECOND, kind=Kind.FUTURE),
    ),
    VenueId.BINANCE_DELIVERY: (
        _Row("btcusd_perp", "BTC", "USD", 0.1, 1.0, MIDDLE, _INVERSE, "BTC", 100.0),
        _Row("ethusd_perp", "ETH", "USD", 0.01, 1.0, SECOND, _INVERSE, "ETH", 10.0),
        _Row("xrpusd_perp", "XRP", "USD", 0.0001, 1.0, QUIET, _INVERSE, "XRP", 10.0),
        _Row(
            "btcusd_{yymmdd}", "BTC", "USD", 0.1, 1.0, SECOND, _INVERSE, "BTC", 100.0, Kind.FUTURE
        ),
    ),
    VenueId.DERIBIT: (
        _Row("BTC-PERPETUAL", "BTC", "USD", 0.5, 10.0, LIQUID, _INVERSE, "BTC"),
        _Row("ETH-PERPETUAL", "ETH", "USD", 0.05, 1.0, MIDDLE, _INVERSE, "ETH"),
        _Row("BTC_USDC-PERPETUAL", "BTC", "USDC", 0.5, 0.001, SECOND),
        _Row("XRP_USDC-PERPETUAL", "XRP", "USDC", 0.0001, 1.0, QUIET),
        _Row("BTC-{d_mon_yy}", "BTC", "USD", 2.5, 10.0, SECOND, _INVERSE, "BTC", kind=Kind.FUTURE),
        _spot("BTC_USDC", "BTC/USDC", (1.0, 0.0001), QUIET),
    ),
    VenueId.BYBIT: (
        _Row("BTCUSDT", "BTC", "USDT", 0.1, 0.001, LIQUID),
        _Row("ETHUSDT", "ETH", "USDT", 0.01, 0.01, MIDDLE),
        _Row("BTCUSD", "BTC", "USD", 0.5, 1.0, SECOND, _INVERSE, "BTC"),
        _Row("BTCPERP", "BTC", "USDC", 0.1, 0.001, QUIET),
        _Row("XRPUSDT", "XRP", "USDT", 0.0001, 1.0, QUIET),
        _Row("BTCUSD{m_yy}", "BTC", "USD", 0.5, 1.0, QUIET, _INVERSE, "BTC", kind=Kind.FUTURE),
    ),
    VenueId.BYBIT_SPOT: (
        _spot("BTCUSDT", "BTC/USDT", (0.01, 0.000001), MIDDLE),
        _spot("ETHUSDT", "ETH/USDT", (0.01, 0.00001), SECOND),
        _spot("XRPUSDT", "XRP/USDT", (0.0001, 0.01), QUIET),
    ),
    VenueId.OKEX: (
        _spot("BTC-USDT", "BTC/USDT", (0.1, 0.00000001), MIDDLE),
        _spot("ETH-USDT", "ETH/USDT", (0.01, 0.000001), SECOND),
        _spot("XRP-USDT", "XRP/USDT", (0.0001, 0.000001), QUIET),
    ),
    VenueId.OKEX_FUTURES: (
        _Row(
            "BTC-USDT-{yymmdd}", "BTC", "USDT", 0.1, 1.0, SECOND, multiplier=0.01, kind=Kind.FUTURE
        ),
        _Row(
            "BTC-USD-{yymmdd}", "BTC", "USD", 0.1, 1.0, SECOND, _INVERSE, "BTC", 100.0, Kind.FUTURE
        ),
        _Row(
            "ETH-USD-{yymmdd}", "ETH", "USD", 0.01, 1.0, QUIET, _INVERSE, "ETH", 10.0, Kind.FUTURE
        ),
    ),
    VenueId.OKEX_SWAP: (
        _Row("BTC-USDT-SWAP", "BTC", "USDT", 0.1, 0.1, LIQUID, multiplier=0.01),
        _Row("ETH-USDT-SWAP", "ETH", "USDT", 0.01, 0.1, MIDDLE, multiplier=0.1),
        _Row("BTC-USD-SWAP", "BTC", "USD", 0.1, 1.0, SECOND, _INVERSE, "BTC", 100.0),
        _Row("DOGE-USDT-SWAP", "DOGE", "USDT", 0.00001, 0.01, QUIET, multiplier=1000.0),
    ),
    VenueId.OKEX_OPTIONS: (),
    VenueId.UPBIT: (
        _spot("KRW-BTC", "BTC/KRW", (1000.0, 0.00000001), MIDDLE),
        _spot("KRW-XRP", "XRP/KRW", (0.1, 0.00000001), SECOND),
        _spot("USDT-BTC", "BTC/USDT", (0.1, 0.00000001), QUIET),
        _spot("BTC-ETH", "ETH/BTC", (0.00001, 0.00000001), QUIET),
    ),
    VenueId.COINBASE: (
        _spot("BTC-USD", "BTC/USD", (0.01, 0.00000001), MIDDLE),
        _spot("ETH-USD", "ETH/USD", (0.01, 0.00000001), SECOND),
        _spot("XRP-USD", "XRP/USD", (0.0001, 0.000001), QUIET),
    ),
    VenueId.HYPERLIQUID: (
        _Row("BTC", "BTC", "USD", 1.0, 0.00001, SECOND, settle="USDC"),
        _Row("ETH", "ETH", "USD", 0.1, 0.0001, SECOND, settle="USDC"),
        _Row("kPEPE", "PEPE", "USD", 0.000001, 1.0, QUIET, settle="USDC", price_factor=1000.0),
    ),
    VenueId.BITMEX: (
        _Row("XBTUSD", "BTC", "USD", 0.5, 100.0, MIDDLE, _INVERSE, "BTC"),
        _Row("XBTUSDT", "BTC", "USDT", 0.5, 1000.0, SECOND, multiplier=0.000001),
        _Row("ETHUSD", "ETH", "USD", 0.05, 1.0, SECOND, Margin.QUANTO, "BTC", 0.000001),
        _Row("XBT{m_yy}", "BTC", "USD", 0.5, 100.0, QUIET, _INVERSE, "BTC", kind=Kind.FUTURE),
    ),
}


def quarterly_expiries(window: Window) -> Iterator[dt.date]:
    """Last Fridays of the quarters whose contracts trade inside the window."""
    last_listed = window.end + dt.timedelta(days=_QUARTER_LISTED_DAYS)
    for year in range(window.first.year, last_listed.year + 1):
        for month in _MONTH_CODES:
            month_end = dt.date(year + month // 12, month % 12 + 1, 1) - dt.timedelta(days=1)
            friday = month_end - dt.timedelta(days=(month_end.weekday() - 4) % 7)
            if window.first <= friday < last_listed:
                yield friday


def _dated_names(expiry: dt.date) -> dict[str, str]:
    return {
        "yymmdd": f"{expiry:%y%m%d}",
        "d_mon_yy": f"{expiry.day}{expiry:%b%y}".upper(),
        "m_yy": f"{_MONTH_CODES[expiry.month]}{expiry:%y}",
    }


def _listing(venue: VenueId, row: _Row, window: Window) -> Listing:
    activity = replace(
        row.activity, depth=min(row.activity.depth, _LARGE.get(venue, row.activity.depth))
    )
    listed = {"TON": day_start_us(window.event) + US_PER_DAY // 2}.get(row.base, window.first_us)
    delisted = {"WAVES": day_start_us(window.event) + 10 * US_PER_DAY // 24}.get(row.base)
    changed = (day_start_us(window.event), row.multiplier / 10) if row.base == "DOGE" else None
    return Listing(
        venue=venue,
        raw_id=row.raw_id,
        kind=row.kind,
        base=row.base,
        quote=row.quote,
        settle=row.settle or row.quote,
        margin=row.margin,
        tick=row.tick,
        lot=row.lot,
        activity=activity,
        listed_us=listed,
        multiplier=row.multiplier,
        delisted_us=delisted,
        price_factor=row.price_factor,
        old_multiplier=changed,
    )


def _dated(listing: Listing, window: Window) -> Iterator[Listing]:
    for expiry in quarterly_expiries(window):
        expires = day_start_us(expiry) + EXPIRY_HOUR_US
        listed = expires - _QUARTER_LISTED_DAYS * US_PER_DAY
        yield replace(
            listing,
            raw_id=listing.raw_id.format(**_dated_names(expiry)),
            listed_us=max(listed, window.first_us),
            expiry_us=expires,
        )


def listings_of(venue: VenueId, window: Window, latent: LatentPrices) -> tuple[Listing, ...]:
    """Everything `venue` lists at any time of the window; group symbols are not instruments."""
    found: list[Listing] = []
    for row in _ROWS[venue]:
        listing = _listing(venue, row, window)
        found += _dated(listing, window) if row.kind is Kind.FUTURE else [listing]
    found += option_listings(venue, window.first, window.end, latent)
    end_us = day_start_us(window.end)
    return tuple(one for one in found if one.lives_in(window.first_us, end_us) is not None)
