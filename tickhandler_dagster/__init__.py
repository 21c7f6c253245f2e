"""Tickhandler: a Dagster data platform for crypto market data.

The package is layered; `docs/architecture.md` draws it and `pyproject.toml` enforces it. Importing
it does nothing.
"""

__version__ = "0.1.0"
