"""The numbers that the audits of ticks stand on, each with its reason: one place.

What does not belong here: how they are applied. They follow from what an hour of a market looks
like and from the smallest bar, not from any file.
"""

from __future__ import annotations

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import US_PER_SECOND

AUDIT_RULES = "1"
"""Goes up with every change that can change an audit; files of other rules are read anew."""

MIN_SILENCE_S = 60
"""No shorter time is called silence: a recorder that reconnects is back within seconds, and four
of the smallest bars without a trade are common on instruments that trade every few seconds."""

WINDOW_HOURS = 1
"""The rate of an hour is taken from it and as many hours on either side: activity follows the time
of day, and three hours are long enough to be more than the hole itself."""

MIN_GAPS = 200
"""Fewer waiting times say nothing of a one-in-a-hundred one: where three hours have fewer, the day
is asked; an instrument whose day has fewer has no rate, and no silence."""

TAIL_RISK = 1e-4
"""Chance, per set of waiting times, that one is longer than what its tail foretells: a false alarm
in thirty years of daily files of one instrument."""

SILENCE_FACTOR = 2.0
"""How many times longer than foretold a silence is: the tail is drawn through two points of a
sample, the rate moves within the hour, and rows come in bursts. It costs the holes that are no
longer than twice what is usual."""

TIME_SHARE = 0.9
"""A silence is also longer than `SILENCE_FACTOR` times the waiting times in which this share of
the time passes: an instrument that moves in bursts is silent most of the day, as it always is."""

NO_RATE = frozenset({DataType.LIQUIDATIONS})
"""Types whose rows come with events and not at a rate: silence says nothing of them."""

MIN_VENUE_INSTRUMENTS = 2
"""Of one instrument alone the venue's silence is its own."""

MIN_LOST_ID_GAP_US = US_PER_SECOND
"""A hole in the numbers is a gap if the trades around it are at least this far apart. A shorter one
has trades on both sides inside one of the smallest bars, whose prices hold; venues also skip a
number within a burst. All missing numbers are counted, whatever their time."""

MAX_LOST_PER_TRADE = 100
"""More numbers missing than this for each trade that is there: they count something else."""

GRID_TOLERANCE = 1e-4
"""Share of a price step by which a price may miss a multiple of it: twenty thousand times what a
double of ten million steps is wrong by."""

WIDE_SPREAD_FACTOR = 50.0
JUMP_FACTOR = 10.0
JUMP_BLOCK = 1024
"""Changes of the mid whose median size is the measure of the next as many."""

JUMP_RETURN = 0.5
"""A jump came back if the next change takes at least this share of it back."""
