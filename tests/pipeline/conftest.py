"""A small venue of derivatives in a lake: raw files by hand, bars by the real pipeline."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random

import polars as pl
import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import write_raw_manifest
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.catalog import ExchangeCatalog, midnight
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.registry import FEATURES
from tickhandler_dagster.market.instruments_table import INSTRUMENTS_TABLE
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.paths import CandleFile, CandleStateFile, RawTickFile
from tickhandler_dagster.market.raw_tables import RAW_TABLES
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.tick_facts import facts_of
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.candles import build_candles

ONE = dt.date(2024, 8, 8)
TWO = dt.date(2024, 8, 9)
KEY = "BINANCE-FUTURES:PERPETUAL:BTC-USDT"
FOREVER = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)
FEW = (Timeframe.S15, Timeframe.H24)


def at(day, seconds):
    return midnight(day) + dt.timedelta(microseconds=round(seconds * 1_000_000))


class CandleLab:
    """Raw files of one venue, put into a lake one by one, and its bars."""

    one, two, key = ONE, TWO, KEY

    def __init__(self, root, venue=VenueId.BINANCE_FUTURES):
        self.lake = Lake(LocalObjectStore(root))
        self.venue = venue
        self.listed = [self.instrument()]
        self.raw_rows = {}

    at = staticmethod(at)

    @staticmethod
    def instrument(**changes):
        return {
            "date": ONE,
            "instrument_key": KEY,
            "venue": "binance-futures",
            "instrument_type": "PERPETUAL",
            "symbol": "BTC-USDT",
            "tardis_symbol": "BTCUSDT",
            "exchange_raw_symbol": "btcusdt",
            "available_from": FOREVER,
            "data_types": ["trades", "quotes"],
            "base_asset": "BTC",
            "quote_asset": "USDT",
            "settle_asset": "USDT",
            "is_inverse": False,
            "is_quanto": False,
            "amount_unit": "base",
            "contract_size": 1.0,
            "tick_size": 0.1,
            "terms_source": "venue_rule",
            "is_simulated": False,
        } | changes

    @property
    def universe(self):
        schema = INSTRUMENTS_TABLE.polars_schema
        return pl.DataFrame(
            [dict.fromkeys(schema.names()) | row for row in self.listed], schema=schema
        )

    def take_over(self, raw_rows):
        """Go on from the raw files of a lab whose lake this one is a copy of."""
        self.raw_rows = {place: dict(rows) for place, rows in raw_rows.items()}

    # ---- raw files -------------------------------------------------------------------------

    def frame(self, data_type, day, rows, *, delay_s=0.01):
        """Rows of a dict of columns each; `t` and `arrival` are seconds after the day's start."""
        table = RAW_TABLES[data_type].stored
        records = [
            dict.fromkeys(table.names)
            | {name: value for name, value in row.items() if name in table.names}
            | {
                "timestamp": at(day, row["t"]),
                "local_timestamp": at(day, row.get("arrival", row["t"] + delay_s)),
            }
            for row in rows
        ]
        return pl.DataFrame(records, schema=table.polars_schema).sort("local_timestamp")

    def trades(self, day, *rows, start=1_000):
        """Rows of (t, price, amount) or (t, price, amount, side or dict of columns)."""
        records = []
        for number, (t, price, amount, *more) in enumerate(rows):
            extra = more[0] if more else "buy"
            extra = extra if isinstance(extra, dict) else {"side": extra}
            records.append(
                {
                    "t": t,
                    "price": float(price),
                    "amount": float(amount),
                    "side": "buy",
                    "id": str(start + number),
                }
                | extra
            )
        return self.frame(DataType.TRADES, day, records)

    def liquidations(self, day, *rows):
        """Rows of (t, price, amount)."""
        records = [
            {"t": t, "price": float(price), "amount": float(amount), "side": "sell"}
            for t, price, amount in rows
        ]
        return self.frame(DataType.LIQUIDATIONS, day, records)

    def quotes(self, day, *rows, data_type=DataType.QUOTES, delay_s=0.01):
        """Rows of (t, bid, ask) or (t, bid, ask, bid size, ask size) or with an arrival behind."""
        records = []
        for t, bid, ask, *more in rows:
            sizes = more[:2] or (1.0, 1.0)
            records.append(
                {
                    "t": t,
                    "bid_price": float(bid),
                    "ask_price": float(ask),
                    "bid_amount": float(sizes[0]),
                    "ask_amount": float(sizes[1]),
                }
                | ({"arrival": more[2]} if len(more) > 2 else {})
            )
        return self.frame(data_type, day, records, delay_s=delay_s)

    def book(self, day, *rows, depth=5):
        """Rows of (t, mid): levels half a unit apart, sizes that grow."""
        records = [
            {"t": t}
            | {
                f"{side}_{field}_{level}": value
                for level in range(1, depth + 1)
                for side, sign in (("bid", -1), ("ask", 1))
                for field, value in (
                    ("price", mid + sign * 0.5 * level),
                    ("volume", float(level) + (t % 7 if side == "bid" else t % 5)),
                )
            }
            for t, mid in rows
        ]
        kind = DataType.BOOK_SNAPSHOT_5 if depth == 5 else DataType.BOOK_SNAPSHOT_25
        return self.frame(kind, day, records)

    def ticker(self, day, *rows):
        """Rows of (t, mark) or (t, mark, columns)."""
        records = [
            {
                "t": t,
                "funding_timestamp": at(day, 28_800 * (int(t) // 28_800 + 1)),
                "funding_rate": 0.0001,
                "open_interest": 1_000.0 + t / 1_000,
                "last_price": float(mark),
                "index_price": float(mark) - 1,
                "mark_price": float(mark),
            }
            | (more[0] if more else {})
            for t, mark, *more in rows
        ]
        return self.frame(DataType.DERIVATIVE_TICKER, day, records)

    def put(self, day, data_type, content, *, key=KEY, **changes):
        """Ingest a frame, or a state without rows, for one instrument."""
        row = ManifestRow(
            date=day,
            venue=self.venue,
            data_type=data_type,
            instrument_key=key,
            tardis_symbol=key,
            source_symbol=key,
            state=content if isinstance(content, DataState) else DataState.PRESENT,
            kernel_version="1",
            is_simulated=False,
            source_sha256=f"{data_type} {day} {key}",
        )
        if not isinstance(content, DataState):
            table = RAW_TABLES[data_type].stored
            stored = self.lake.write_table(RawTickFile(day, data_type, key), content, table)
            row = dataclasses.replace(
                row,
                source_rows=content.height,
                bytes=stored.bytes,
                content_sha256=stored.sha256,
                **dataclasses.asdict(facts_of(content, day)),
            )
        rows = self.raw_rows.setdefault((day, data_type), {})
        rows[key] = dataclasses.replace(row, **changes)
        write_raw_manifest(self.lake, VenueDay(day, self.venue), data_type, rows.values())

    # ---- a day that looks like a market ----------------------------------------------------

    def market(self, day, *, seed=1, trades=120, states=240, price=100.0):
        """Trades, quotes, book, ticker and liquidations of a day, dense around its ends."""
        chance = random.Random(f"{seed} {day}")

        def moments(count):
            middle = [chance.uniform(60, 86_340) for _ in range(count // 2)]
            ends = [chance.uniform(0, 60) for _ in range(count // 4)]
            ends += [chance.uniform(86_340, 86_399.9) for _ in range(count // 4)]
            return sorted(round(moment, 3) for moment in middle + ends)

        def walk(count):
            level = price
            for _ in range(count):
                level = round(level + chance.choice((-0.5, -0.1, 0, 0.1, 0.5)), 1)
                yield level

        def size():
            return round(chance.uniform(0.1, 9), 2)

        times, prices = moments(states), list(walk(states))
        quotes = [
            (t, mid - 0.1, mid + 0.1, size(), size()) for t, mid in zip(times, prices, strict=True)
        ]
        fills = [
            (t, level, size(), chance.choice(("buy", "sell")))
            for t, level in zip(moments(trades), walk(trades), strict=True)
        ]
        book = list(zip(times, prices, strict=True))
        marks = [(float(t), price + t / 10_000) for t in range(5, 86_400, 300)]
        return {
            DataType.TRADES: self.trades(day, *fills, start=day.toordinal() * 1_000),
            DataType.QUOTES: self.quotes(day, *quotes),
            DataType.BOOK_SNAPSHOT_5: self.book(day, *book),
            DataType.DERIVATIVE_TICKER: self.ticker(day, *marks),
            DataType.LIQUIDATIONS: self.liquidations(day, (40_000, price, 2), (86_399, price, 1)),
        }

    def put_market(self, day, *types, key=KEY, **market):
        """Ingest `market(day)`, or some of its types."""
        frames = self.market(day, **market)
        for data_type in types or frames:
            self.put(day, data_type, frames[data_type], key=key)
        return frames

    # ---- bars ------------------------------------------------------------------------------

    def build(self, day=ONE, *, timeframes=FEW, **changes):
        arguments = {"catalog": self.catalog, "universe": self.universe} | changes
        cell = VenueDay(day, self.venue)
        return build_candles(cell, lake=self.lake, timeframes=timeframes, **arguments)

    @property
    def catalog(self):
        return ExchangeCatalog(
            venue=self.venue,
            name="Binance futures",
            available_since=FOREVER,
            exported_from=FOREVER,
            exported_until=midnight(dt.date(2025, 1, 1)),
            symbols=(),
            groups=(),
            incidents=(),
            is_simulated=False,
        )

    def bars(self, day=ONE, timeframe=Timeframe.S15, *, key=KEY):
        return self.lake.read_table(CandleFile(day, timeframe, key))

    def day_bar(self, day=ONE, *, key=KEY):
        return self.bars(day, Timeframe.H24, key=key).row(0, named=True)

    def state(self, day):
        return self.lake.read_table(CandleStateFile(day, self.venue))

    def written(self):
        """Every object that building bars writes, with its bytes."""
        paths = (*self.lake.store.list("processed_candles"), *self.lake.store.list("_state"))
        return {path: self.lake.store.read(path) for path in paths}

    @staticmethod
    def columns_of(channel):
        """Names of the features that need a channel."""
        return [feature.name for feature in FEATURES.values() if channel in feature.inputs]


@pytest.fixture(scope="session")
def new_lab():
    """Build a lab over a folder: `new_lab(root)`."""
    return CandleLab


@pytest.fixture
def make_lab(tmp_path):
    """Build labs, each with a lake of its own: `make_lab("name")`."""
    return lambda name="lake": CandleLab(tmp_path / name)


@pytest.fixture
def lab(make_lab):
    return make_lab()
