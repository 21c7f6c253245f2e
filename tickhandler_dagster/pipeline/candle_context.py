"""What an instrument's bars depend on besides its own files, and the digest of all of it.

What belongs here: yesterday's state, the reference instrument, the near contract, the option
surface; and one hash over everything. What does not: reading ticks (`candle_build.py`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.market.bars.facts import KERNEL_VERSION
from tickhandler_dagster.market.candle_state_table import CandleState
from tickhandler_dagster.market.catalog import midnight
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.features.feature import Channel
from tickhandler_dagster.market.manifest_table import ManifestRow
from tickhandler_dagster.market.related_instruments import near_key, reference_key
from tickhandler_dagster.pipeline.candle_channels import ChannelFiles
from tickhandler_dagster.pipeline.candle_inputs import InstrumentDay
from tickhandler_dagster.pipeline.candle_listing import microseconds
from tickhandler_dagster.pipeline.candle_state import read_candle_states
from tickhandler_dagster.pipeline.options_surface import surface_digest
from tickhandler_dagster.pipeline.quote_rows import quote_files

_EDGE_US = 55_000_000
"""What the ends of quotes surely hold of the time before midnight: a minute less the joins' 5 s."""


@dataclass(frozen=True, slots=True)
class InstrumentContext:
    """Other objects that an instrument's bars stand on.

    Attributes:
        state: Its state at the end of the day before; None where that day's bars were never built.
        reference: The venue's reference instrument; None for itself and where there is none.
        near: The dated future that expires first; None where it has no part in the bars.
        surface_sha256: Hash of the option surface of its base asset; None where there is none.
        related: What of the reference and the near contract counts, as hashes.
    """

    state: CandleState | None
    reference: InstrumentDay | None
    near: InstrumentDay | None
    surface_sha256: str | None
    related: Mapping[str, Any]


class CellContext:
    """The contexts of a cell's instruments.

    Args:
        lake: Where states and surfaces are.
        cell: Day and venue of the bars.
        days: The inputs of every instrument of the cell.
    """

    def __init__(self, lake: Lake, cell: VenueDay, days: Sequence[InstrumentDay]) -> None:
        self._lake = lake
        self._cell = cell
        self._day_end = midnight(cell.shifted(1).date)
        self.states = read_candle_states(lake, cell.shifted(-1))
        self._days = {inputs.facts.instrument_key: inputs for inputs in days}
        self._universe = [inputs.terms for inputs in days]
        self._reference = reference_key(self._universe)
        self._surfaces: dict[str, str | None] = {}

    def of(self, inputs: InstrumentDay) -> InstrumentContext:
        """What the instrument's bars depend on besides its own files."""
        key = inputs.facts.instrument_key
        near = self._day(near_key(inputs.terms, self._universe, self._day_end))
        reference = None if key == self._reference else self._day(self._reference)
        return InstrumentContext(
            state=self.states.get(key),
            reference=reference,
            near=near,
            surface_sha256=self._surface(str(inputs.terms["base_asset"])),
            related={
                "reference": self._hashes(reference, quote_files),
                "near": self._hashes(near, _ticker_files),
            },
        )

    def _hashes(
        self,
        inputs: InstrumentDay | None,
        files_of: Callable[[InstrumentDay], ChannelFiles | None],
    ) -> Mapping[str, Any] | None:
        if inputs is None:
            return None
        key, files = inputs.facts.instrument_key, files_of(inputs)
        return {
            "key": key,
            "expiry_us": inputs.facts.expiry_us,
            "files": None if files is None else _channel_tokens(files, self.states.get(key)),
        }

    def _day(self, key: str | None) -> InstrumentDay | None:
        return None if key is None else self._days.get(key)

    def _surface(self, asset: str) -> str | None:
        if asset not in self._surfaces:
            cell = self._cell
            self._surfaces[asset] = surface_digest(self._lake, cell.date, asset, cell.venue)
        return self._surfaces[asset]


def _ticker_files(inputs: InstrumentDay) -> ChannelFiles | None:
    return inputs.channels.get(Channel.TICKER)


def inputs_digest(inputs: InstrumentDay, context: InstrumentContext) -> str:
    """Hash of everything the bars depend on: equal digests, equal values in the bars.

    Of the file of the day before only its end counts, where the state of that day vouches for it: a
    change in the middle of that day reaches this one through the state, or not at all. Then the
    bars keep the name of the file that they were cut from.
    """
    facts = dataclasses.replace(inputs.facts, sources=type(inputs.facts.sources)())
    ends = None if _reaches_past_the_ends(inputs) else context.state
    known: dict[str, Any] = {
        "kernel": KERNEL_VERSION,
        "facts": dataclasses.asdict(facts),
        "state": inputs.state,
        "trades": _channel_tokens(inputs.trades, ends),
        "duplicates": [row.duplicate_rows for row in _with_rows_of_the_day(inputs)],
        "channels": {
            channel: _channel_tokens(files, ends) for channel, files in inputs.channels.items()
        },
        "is_simulated": inputs.is_simulated,
        "memory": None if context.state is None else context.state.memory_sha256,
        "related": context.related,
        "surface": context.surface_sha256,
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _with_rows_of_the_day(inputs: InstrumentDay) -> list[ManifestRow]:
    """The trade files whose repeats can lie in the day; of the day before only with late ones."""
    return [row for row in inputs.files if row is not inputs.previous or row.rows_after_day > 0]


def _reaches_past_the_ends(inputs: InstrumentDay) -> bool:
    """A trade of the day arrived so long before it that it is joined with earlier quotes."""
    first = None if inputs.previous is None else inputs.previous.first_local_after_day
    return first is not None and microseconds(first) < inputs.facts.day.start - _EDGE_US


def _channel_tokens(files: ChannelFiles, state: CandleState | None) -> list[Any]:
    own, following = files.own, files.following
    return [
        files.data_type,
        files.state,
        None if files.previous is None else _previous_token(files.previous, state),
        None if own is None else own.content_sha256,
        None if following is None else following.content_sha256,
    ]


def _previous_token(row: ManifestRow, state: CandleState | None) -> str | None:
    """What of the day before's file counts: its end, or all of it where rows of the day are there.

    Nulls: None where it is of no account.
    """
    if row.data_type is DataType.DERIVATIVE_TICKER:
        has_rows_of_the_day = False  # it is read by arrival
    else:
        has_rows_of_the_day = row.rows_after_day > 0
    if row.data_type is DataType.LIQUIDATIONS and not has_rows_of_the_day:
        return None  # events: nothing of them is carried in
    edge = None if state is None else state.edge_of(row.data_type, row.content_sha256)
    return row.content_sha256 if has_rows_of_the_day or edge is None else edge
