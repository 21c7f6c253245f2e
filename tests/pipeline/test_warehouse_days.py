"""Which objects a day of a warehouse table is made of: the manifests' word, over all venues."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import polars as pl
import pytest

from tickhandler_dagster.adapters.warehouse import LoadedObject, TableDay
from tickhandler_dagster.market.candle_manifest_table import CANDLE_MANIFEST_TABLE
from tickhandler_dagster.market.errors import CorruptData
from tickhandler_dagster.market.mft.windows import Windows
from tickhandler_dagster.market.mft_manifest_table import MFT_MANIFEST_TABLE
from tickhandler_dagster.market.options_surface_manifest_table import (
    OPTIONS_SURFACE_MANIFEST_TABLE,
)
from tickhandler_dagster.market.paths import (
    CandleFile,
    CandleManifest,
    CompletenessFile,
    MftFile,
    MftManifest,
    OptionsSurfaceFile,
    OptionsSurfaceManifest,
)
from tickhandler_dagster.market.tables import TIMESTAMP, Table
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.market.warehouse_tables import WarehouseSource, warehouse_tables
from tickhandler_dagster.pipeline.warehouse_days import _READERS, table_days

DAY, NEXT = dt.date(2024, 8, 8), dt.date(2024, 8, 9)
BINANCE, DERIBIT = VenueId.BINANCE, VenueId.DERIBIT
TABLES = {table.name: table for table in warehouse_tables(Windows())}
FILLER = {
    pl.String(): "x",
    pl.Int64(): 0,
    pl.Boolean(): False,
    pl.Date(): DAY,
    TIMESTAMP: None,
    pl.List(pl.String()): [],
}


def store_manifest(lake, item, table, rows):
    """A manifest of these rows; columns that they do not name hold anything."""
    records = [
        {column.name: row.get(column.name, FILLER[column.dtype]) for column in table.columns}
        for row in rows
    ]
    lake.write_table(item, pl.DataFrame(records, schema=table.polars_schema), table)


def entry(key, rows, number):
    return {
        "instrument_key": key,
        "bars": rows,
        "rows": rows,
        "bytes": 100 + number,
        "content_sha256": f"{number:064x}",
    }


def test_a_day_of_candles_is_what_the_manifests_of_all_venues_name(lake):
    for venue, number in ((DERIBIT, 1), (BINANCE, 3)):
        store_manifest(
            lake,
            CandleManifest(DAY, Timeframe.M1, venue),
            CANDLE_MANIFEST_TABLE,
            [entry(f"{venue}:A", 1440, number), entry(f"{venue}:B", 1439, number + 1)],
        )
    # In the folder, and in no manifest: of a run that was killed, or of another day.
    lake.store.write(CandleFile(DAY, Timeframe.M1, "binance:LEFT-OVER").path, b"not ours")
    first, second = table_days(lake, TABLES["candles_1m"], [DAY, NEXT], [DERIBIT, BINANCE, BINANCE])
    assert first == TableDay(
        DAY,
        tuple(
            LoadedObject(
                CandleFile(DAY, Timeframe.M1, f"{venue}:{name}").path,
                venue,
                rows,
                100 + number,
                f"{number:064x}",
            )
            for venue, name, rows, number in (
                (BINANCE, "A", 1440, 3),
                (BINANCE, "B", 1439, 4),
                (DERIBIT, "A", 1440, 1),
                (DERIBIT, "B", 1439, 2),
            )
        ),
    )
    assert (first.rows, first.bytes) == (5758, 410)
    assert first.rows_by_venue == {BINANCE: 2879, DERIBIT: 2879}
    assert second == TableDay(NEXT, ())


def test_features_and_surfaces_are_read_from_their_own_manifests(lake):
    store_manifest(
        lake,
        MftManifest(DAY, Timeframe.H1, BINANCE),
        MFT_MANIFEST_TABLE,
        [entry("binance:A", 24, 1)],
    )
    surface = entry("", 24, 2) | {"underlying": "BTC-USD"}
    store_manifest(
        lake,
        OptionsSurfaceManifest(DAY, DERIBIT),
        OPTIONS_SURFACE_MANIFEST_TABLE,
        [surface | {"timeframe": timeframe.value} for timeframe in (Timeframe.M1, Timeframe.H1)],
    )
    features = table_days(lake, TABLES["mft_features_1h"], [DAY], VenueId)[0]
    assert [item.path for item in features.objects] == [
        MftFile(DAY, Timeframe.H1, "binance:A").path
    ]
    surfaces = table_days(lake, TABLES["options_surface"], [DAY], VenueId)[0]
    assert [item.path for item in surfaces.objects] == [
        OptionsSurfaceFile(DAY, timeframe, DERIBIT, "BTC-USD").path
        for timeframe in (Timeframe.M1, Timeframe.H1)
    ]
    assert surfaces.rows_by_venue == {DERIBIT: 48}


def test_an_object_without_a_manifest_speaks_for_itself(lake, completeness_tables):
    completeness_tables.write(
        completeness_tables.row("A"), completeness_tables.row("B"), completeness_tables.row("C")
    )
    item = CompletenessFile(DAY, BINANCE)
    stored = lake.digest(item)
    assert table_days(lake, TABLES["completeness"], [DAY], VenueId)[0].objects == (
        LoadedObject(item.path, BINANCE, 3, stored.bytes, stored.sha256),
    )


def test_a_manifest_of_another_version_of_the_project_is_read_all_the_same(lake):
    wanted = ("instrument_key", "bars", "bytes", "content_sha256")
    columns = tuple(column for column in CANDLE_MANIFEST_TABLE.columns if column.name in wanted)
    store_manifest(
        lake,
        CandleManifest(DAY, Timeframe.M1, BINANCE),
        Table("old", "one instrument", columns),
        [entry("binance:A", 1440, 1)],
    )
    assert table_days(lake, TABLES["candles_1m"], [DAY], [BINANCE])[0].rows == 1440


def test_a_manifest_that_cannot_be_read_is_an_error_and_no_empty_day(lake):
    lake.store.write(CandleManifest(DAY, Timeframe.M1, BINANCE).path, b"no table")
    with pytest.raises(CorruptData):
        table_days(lake, TABLES["candles_1m"], [DAY], [BINANCE])


def test_a_table_of_bars_without_a_timeframe_is_a_mistake_of_the_program(lake):
    with pytest.raises(ValueError, match="has a timeframe"):
        table_days(lake, replace(TABLES["candles_1m"], timeframe=None), [DAY], [BINANCE])


def test_every_source_of_a_table_has_a_reader():
    assert set(_READERS) == set(WarehouseSource)


def test_the_digest_of_a_day_changes_with_its_content_and_with_nothing_else():
    one = LoadedObject("a", BINANCE, 1, 10, "1" * 64)
    two = LoadedObject("b", DERIBIT, 2, 20, "2" * 64)
    digest = TableDay(DAY, (one, two)).digest
    assert TableDay(NEXT, (two, one)).digest == digest
    others = [
        (one,),
        (one, LoadedObject("b", DERIBIT, 2, 20, "3" * 64)),
        (one, LoadedObject("c", DERIBIT, 2, 20, "2" * 64)),
        (one, LoadedObject("b", BINANCE, 2, 20, "2" * 64)),
        (),
    ]
    digests = {TableDay(DAY, objects).digest for objects in others}
    assert len(digests) == len(others)
    assert digest not in digests
