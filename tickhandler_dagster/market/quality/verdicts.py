"""What a policy makes of findings, and which of several verdicts is the worst.

What does not belong here: the policy itself (`policy.py`) and what a check does with a verdict
(`checks/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.instrument_key import InstrumentType
from tickhandler_dagster.market.quality.findings import Finding
from tickhandler_dagster.market.quality.policy import QualityPolicy, Subject, Verdict
from tickhandler_dagster.market.venues import VenueId

RANK: Mapping[Verdict, int] = MappingProxyType(
    {Verdict.IGNORE: 0, Verdict.WARNING: 1, Verdict.ERROR: 2}
)
"""Larger is worse."""

_DATA_TYPES = frozenset(DataType)
_INSTRUMENT_TYPES = frozenset(InstrumentType)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them; `ignore` where there are none.

    Example:
        >>> worst([Verdict.IGNORE, Verdict.ERROR, Verdict.WARNING]).value, worst([]).value
        ('error', 'ignore')
    """
    return max(verdicts, key=lambda verdict: RANK[verdict], default=Verdict.IGNORE)


def subject_of(venue: VenueId, source: str, instrument_key: str) -> Subject:
    """What a verdict about data of that source and instrument is about.

    A source that is no data type gives a subject without one, a key that names no instrument (a
    finding about a whole universe) a subject without a class.

    Example:
        >>> subject_of(VenueId.BINANCE, "trades", "BINANCE:SPOT_PAIR:BTC-USDT").data_type
        <DataType.TRADES: 'trades'>
        >>> subject_of(VenueId.BINANCE, "candles", "BINANCE").instrument_type is None
        True
    """
    middle = [*instrument_key.split(":", 2), ""][1]
    return Subject(
        venue=venue,
        data_type=DataType(source) if source in _DATA_TYPES else None,
        instrument_type=InstrumentType(middle) if middle in _INSTRUMENT_TYPES else None,
    )


def verdict_of(finding: Finding, policy: QualityPolicy) -> Verdict:
    """How the policy takes the finding."""
    subject = subject_of(finding.venue, finding.source, finding.instrument_key)
    return policy.of_rule(subject, finding.rule)
