"""The text form of a plan: written beside the numbers people decide by, read before it is run.

What belongs here: both directions, and the refusal of what is no plan. `parse(form(plan)) == plan`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tickhandler_dagster.market.costs.amounts import Amount
from tickhandler_dagster.market.costs.plan import (
    CellFiles,
    Plan,
    PlanLine,
    PlanPart,
    Selection,
)
from tickhandler_dagster.market.costs.quantities import QUANTITY_NAMES, Quantities
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import InvalidInput
from tickhandler_dagster.market.repair_plan import PlannedAsset, Stage
from tickhandler_dagster.market.venues import VenueId

PLAN_VERSION = 1


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as a JSON document."""
    return {
        "version": PLAN_VERSION,
        "place": plan.place,
        "selection": _selection_json(plan.selection),
        "lines": [line_json(line) for line in plan.lines],
        "total": quantities_json(plan.total),
        "work": [
            {
                "asset": item.asset,
                "stage": item.stage.name,
                "why": dict(item.why),
                "cells": [str(cell) for cell in item.cells],
            }
            for item in plan.work
        ],
        "files": {
            asset: {
                str(cell): [item.files, item.kept_rows, item.kept_bytes]
                for cell, item in cells.items()
            }
            for asset, cells in plan.files.items()
        },
        "warehouse": {
            table: [day.isoformat() for day in days] for table, days in plan.warehouse.items()
        },
        "notes": list(plan.notes),
    }


def parse_plan(document: object, name: str) -> Plan:
    """The plan in a JSON document.

    Args:
        document: The document.
        name: Of the file, for the error.

    Raises:
        InvalidInput: it is no plan, or one of another version.
    """
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(document, dict) or version != PLAN_VERSION:
        raise InvalidInput(
            name,
            "not a plan of this version",
            was="no version" if version is None else f"version {version}",
            expected=f"version {PLAN_VERSION}",
            remedy="Make it anew: `tickhandler plan … --save FILE`",
        )
    try:
        return _parsed(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            name,
            "a damaged plan",
            was=f"{type(error).__name__}: {error}",
            remedy="Make it anew: `tickhandler plan … --save FILE`",
        ) from error


def line_json(line: PlanLine) -> dict[str, Any]:
    """A line as JSON."""
    return {
        "asset": line.asset,
        "cells": line.cells,
        "cells_there": line.cells_there,
        "files": line.files,
        "files_there": line.files_there,
        **quantities_json(line.quantities),
    }


def quantities_json(quantities: Quantities) -> dict[str, Any]:
    """Quantities as JSON: each as likely value, low and high end."""
    return {name: amount_json(getattr(quantities, name)) for name in QUANTITY_NAMES}


def amount_json(amount: Amount) -> dict[str, float]:
    """An amount as JSON."""
    return {"likely": amount.likely, "low": amount.low, "high": amount.high}


def _selection_json(selection: Selection) -> dict[str, Any]:
    return {
        "start": selection.start.isoformat(),
        "end": selection.end.isoformat(),
        "venues": list(map(str, selection.venues)),
        "data_types": list(map(str, selection.data_types)),
        "parts": list(map(str, selection.parts)),
        "force": selection.is_forced,
        "max_files": selection.max_files,
    }


def _parsed(document: Mapping[str, Any]) -> Plan:
    chosen = document["selection"]
    return Plan(
        selection=Selection(
            start=dt.date.fromisoformat(chosen["start"]),
            end=dt.date.fromisoformat(chosen["end"]),
            venues=tuple(map(VenueId, chosen["venues"])),
            data_types=tuple(map(DataType, chosen["data_types"])),
            parts=tuple(map(PlanPart, chosen["parts"])),
            is_forced=bool(chosen["force"]),
            max_files=int(chosen["max_files"]),
        ),
        place=str(document["place"]),
        lines=tuple(map(_line, document["lines"])),
        work=tuple(map(_planned, document["work"])),
        files={
            asset: {VenueDay.parse(cell): CellFiles(*map(int, item)) for cell, item in of.items()}
            for asset, of in document["files"].items()
        },
        warehouse={
            table: tuple(map(dt.date.fromisoformat, days))
            for table, days in document["warehouse"].items()
        },
        notes=tuple(map(str, document["notes"])),
    )


def _line(record: Mapping[str, Any]) -> PlanLine:
    amounts = {
        name: Amount(*(float(record[name][part]) for part in ("likely", "low", "high")))
        for name in QUANTITY_NAMES
    }
    return PlanLine(
        asset=str(record["asset"]),
        cells=int(record["cells"]),
        cells_there=int(record["cells_there"]),
        files=int(record["files"]),
        files_there=int(record["files_there"]),
        quantities=Quantities(**amounts),
    )


def _planned(record: Mapping[str, Any]) -> PlannedAsset:
    return PlannedAsset(
        str(record["asset"]),
        Stage[record["stage"]],
        tuple(map(VenueDay.parse, record["cells"])),
        MappingProxyType({str(why): int(count) for why, count in record["why"].items()}),
    )
