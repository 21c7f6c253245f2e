"""The words that signals share: what is told together, metadata as text, paths of the page.

What does not belong here: the sentences themselves, which stand where their facts are.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import dagster as dg


def cell_name(asset: str, partition: str | None) -> str:
    """A cell of an asset in words.

    Example:
        >>> cell_name("raw_ticks/trades", "2024-08-08|binance")
        'raw_ticks/trades 2024-08-08|binance'
    """
    return f"{asset} {partition}" if partition else asset


def cell_group(name: str, partition: str | None) -> str:
    """What is told in one message: the same thing of one venue, whatever the day.

    Example:
        >>> cell_group("raw_ticks/trades complete", "2024-08-08|binance")
        'raw_ticks/trades complete binance'
    """
    return f"{name} {partition.rpartition('|')[2]}" if partition else name


def asset_path(key: dg.AssetKey) -> str:
    """Path of the asset's page."""
    return "/assets/" + "/".join(quote(part, safe="") for part in key.path)


def run_path(run_id: str) -> str:
    """Path of the run's page; empty where no run did it."""
    return f"/runs/{run_id}" if run_id else ""


def shown(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, str]:
    """Metadata that is text, by label; counts are in the summary, pictures stay on the page."""
    return {
        label: str(value.value)
        for label, value in metadata.items()
        if isinstance(value, dg.TextMetadataValue | dg.MarkdownMetadataValue)
        and not str(value.value).startswith("![")
    }
