"""The command lines that remedies name, so that an error and the README say the same."""

from __future__ import annotations

CODE_LOCATION = "tickhandler_dagster.definitions"


def materialize(asset: str, partition: object) -> str:
    """The command that makes a partition of an asset.

    Example:
        >>> materialize("instruments", "2024-08-08|upbit").partition("definitions ")[2]
        "--select instruments --partition '2024-08-08|upbit'"
    """
    return (
        f"dagster asset materialize -m {CODE_LOCATION} --select {asset} --partition '{partition}'"
    )
