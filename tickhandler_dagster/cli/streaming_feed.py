"""The venues' live feeds of a session: one sidecar per venue, together one feed.

What belongs here: which symbols and types each venue is asked for. What does not: the sidecar
(`streaming/sidecar_feed.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tickhandler_dagster.cli.streaming_parts import Chosen, kept_types
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.errors import TickhandlerError
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.settings import Settings
from tickhandler_dagster.streaming.feeds import Feed
from tickhandler_dagster.streaming.sidecar_feed import SidecarFeed
from tickhandler_dagster.streaming.sidecar_plan import Subscription
from tickhandler_dagster.streaming.sidecar_program import install_sidecar

PROGRAMS = "programs"
"""Folder of the spool in which the sidecar is installed, once per version."""


class Feeds:
    """Several feeds as one.

    Args:
        feeds: The feeds.
    """

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = feeds

    def start(self) -> None:
        """Begin all; where one cannot, those that did are ended again."""
        started: list[Feed] = []
        try:
            for feed in self._feeds:
                feed.start()
                started.append(feed)
        except TickhandlerError:
            for feed in started:
                feed.stop()
            raise

    def stop(self) -> None:
        """End all."""
        for feed in self._feeds:
            feed.stop()

    @property
    def is_alive(self) -> bool:
        """One at least brings rows, or tries to."""
        return any(feed.is_alive for feed in self._feeds)

    @property
    def failure(self) -> TickhandlerError | None:
        """What ended the first that ended."""
        found = (feed.failure for feed in self._feeds)
        return next((failure for failure in found if failure is not None), None)


def live_feed(
    settings: Settings,
    chosen: Chosen,
    data_types: Sequence[DataType],
    root: Path,
    *,
    max_bytes: int,
) -> Feed:
    """The feeds of all chosen venues; the sidecar is installed where it is not yet.

    Raises:
        MissingUpstream: Node.js is not on this machine.
        VendorUnavailable: the sidecar's library cannot be fetched.
        InvalidInput: a type that no live feed has.
    """
    program = install_sidecar(settings.streaming_spool_folder / PROGRAMS)
    return Feeds(
        [
            SidecarFeed(program, subscription(chosen, data_types, venue), root, max_bytes=max_bytes)
            for venue in chosen.venues
        ]
    )


def subscription(chosen: Chosen, data_types: Sequence[DataType], venue: VenueId) -> Subscription:
    """What one venue is asked for: options apart, with chains where the types name them."""
    own = [one for one in chosen.instruments if one.venue is venue]
    options = [one for one in own if one.row["instrument_type"] == InstrumentType.OPTION]
    others = [one for one in own if one not in options]
    offered = {name for one in options for name in one.row["data_types"]}
    return Subscription(
        venue=venue,
        symbols=tuple(one.symbol for one in others),
        data_types=tuple(
            one
            for one in kept_types(data_types, chosen, venue)
            if one is not DataType.OPTIONS_CHAIN
        ),
        options=tuple(one.symbol for one in options),
        option_types=tuple(one for one in data_types if one in offered),
    )
