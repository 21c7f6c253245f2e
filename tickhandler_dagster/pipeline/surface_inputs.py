"""What a venue's option surfaces are built from: options, their terms and raw files of two days.

What belongs here: from the universe and the raw manifests to one value per underlying, without
reading a row. What does not: building (`surface_build.py`) and publishing (`surface_files.py`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.market.commands import materialize
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import MissingUpstream
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.options.surface import SURFACE_VERSION
from tickhandler_dagster.market.states import STATE_MEANINGS, DataState

_Manifest = Mapping[str, ManifestRow]


@dataclass(frozen=True, slots=True)
class OptionInput:
    """An option, its terms and its raw files.

    Attributes:
        instrument_key: Canonical key.
        expiry_us: Expiry, microseconds since the epoch.
        strike: In the quote asset.
        is_call: Call or put.
        pays_coin: The premium is paid in the base asset.
        contract_size: Base asset per unit of open interest; NaN where unknown.
        state: State of the day's rows.
        reason: Why the rows are missing; empty where they are not.
        previous: The raw file of the day before; None where there is none.
        own: The raw file of the day; None where there is none.
    """

    instrument_key: str
    expiry_us: int
    strike: float
    is_call: bool
    pays_coin: bool
    contract_size: float
    state: DataState
    reason: str
    previous: ManifestRow | None
    own: ManifestRow | None

    @property
    def files(self) -> list[ManifestRow]:
        """The raw files there are, in the order of arrival."""
        return [row for row in (self.previous, self.own) if row is not None]


@dataclass(frozen=True, slots=True)
class UnderlyingDay:
    """The inputs of one underlying's surface.

    Attributes:
        cell: Day and venue.
        underlying: BASE-QUOTE.
        base_asset: What the options are written on.
        options: Ordered by expiry, strike and right.
    """

    cell: VenueDay
    underlying: str
    base_asset: str
    options: tuple[OptionInput, ...]

    @property
    def expiries(self) -> list[tuple[OptionInput, ...]]:
        """The options with rows, an element per expiry, the earliest first."""
        having = [option for option in self.options if option.files]
        return [tuple(group) for _, group in groupby(having, lambda option: option.expiry_us)]

    @property
    def is_simulated(self) -> bool:
        """A source came from the sandbox."""
        return any(row.is_simulated for option in self.options for row in option.files)

    @property
    def missing(self) -> list[OptionInput]:
        """Options whose rows should be there and are not."""
        return [option for option in self.options if option.state.is_missing]

    @property
    def digest(self) -> str:
        """Hash of everything the surface depends on: equal digests, equal surfaces."""
        known = {
            "kernel": SURFACE_VERSION,
            "cell": str(self.cell),
            "underlying": self.underlying,
            "options": [
                (
                    option.instrument_key,
                    option.expiry_us,
                    option.strike,
                    option.is_call,
                    option.pays_coin,
                    None if math.isnan(option.contract_size) else option.contract_size,
                    option.state,
                    [(row.date.isoformat(), row.content_sha256) for row in option.files],
                )
                for option in self.options
            ],
            "is_simulated": self.is_simulated,
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def underlying_days(cell: VenueDay, *, lake: Lake, universe: pl.DataFrame) -> list[UnderlyingDay]:
    """The inputs of every underlying that the venue lists options on, ordered by name.

    Options that the vendor does not list on the day after all are left out.

    Raises:
        MissingUpstream: the raw chain of the day was never ingested.
    """
    on_the_day = _manifest(lake, cell)
    if on_the_day is None:
        raise MissingUpstream(
            f"raw_ticks/options_chain {cell}",
            "not materialized",
            remedy=f"Run: {materialize('raw_ticks/options_chain', cell)}",
        )
    before = _manifest(lake, cell.shifted(-1)) or {}
    listed = universe.filter(
        pl.col("data_types").list.contains(DataType.OPTIONS_CHAIN.value)
        & pl.all_horizontal(pl.col("expiry", "strike", "option_type", "underlying").is_not_null())
    ).sort("underlying", "expiry", "strike", "option_type", descending=[False, False, False, True])
    found: dict[str, list[OptionInput]] = {}
    bases: dict[str, str] = {}
    for terms in listed.with_columns(pl.col("expiry").to_physical()).iter_rows(named=True):
        option = _option(terms, before, on_the_day)
        if option.state is not DataState.NOT_LISTED:
            found.setdefault(terms["underlying"], []).append(option)
            bases[terms["underlying"]] = terms["base_asset"]
    return [
        UnderlyingDay(cell, underlying, bases[underlying], tuple(options))
        for underlying, options in found.items()
    ]


def _manifest(lake: Lake, cell: VenueDay) -> _Manifest | None:
    rows = read_raw_manifest(lake, cell, DataType.OPTIONS_CHAIN)
    return None if rows is None else {row.instrument_key: row for row in rows}


def _option(terms: Mapping[str, Any], before: _Manifest, on_the_day: _Manifest) -> OptionInput:
    key = str(terms["instrument_key"])
    row = on_the_day.get(key)
    # What the manifest does not know was never asked for.
    state = DataState.FAILED if row is None else row.state
    reason = "" if row is None else row.reason or ""
    size = terms["contract_size"]
    return OptionInput(
        instrument_key=key,
        expiry_us=int(terms["expiry"]),
        strike=float(terms["strike"]),
        is_call=terms["option_type"] == "CALL",
        pays_coin=terms["settle_asset"] == terms["base_asset"],
        contract_size=math.nan if size is None else float(size),
        state=state,
        reason=(reason or STATE_MEANINGS[state]) if state.is_missing else "",
        previous=_present(before.get(key)),
        own=_present(row),
    )


def _present(row: ManifestRow | None) -> ManifestRow | None:
    return row if row is not None and row.state is DataState.PRESENT else None
