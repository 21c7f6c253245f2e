"""The ingest of a raw partition against a real HTTP server: what comes, what stays, what heals."""

from __future__ import annotations

import datetime as dt
import gzip
import json

import polars as pl
import pytest

from tickhandler_dagster.adapters.manifests import read_raw_manifest
from tickhandler_dagster.adapters.tardis_datasets import RequestLimits, TardisDatasets
from tickhandler_dagster.market.catalog import DatasetSymbol, ExchangeCatalog, Incident
from tickhandler_dagster.market.data_types import DataType, GroupSymbol
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import (
    CorruptData,
    InvalidInput,
    KeyLocked,
    NoEntitlement,
    NotAvailable,
    QuotaExhausted,
    VendorUnavailable,
)
from tickhandler_dagster.market.paths import (
    QuarantinedFile,
    QuarantinedRows,
    RawManifest,
    RawTickFile,
)
from tickhandler_dagster.market.states import DataState
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.raw_ticks import IngestLimits, ingest_raw_ticks

DAY = dt.date(2024, 8, 8)
QUICK = RequestLimits(attempts=1, repeats=1, repeat_pause_s=0.01, file_timeout_s=20)
LIMITS = IngestLimits(max_concurrent_requests=8, max_workers=2, batch_size=3)


EXPORTED_UNTIL = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def moment(year):
    return dt.datetime(year, 1, 1, tzinfo=dt.UTC)


def make_catalog(venue, symbols, *, groups=(), exported_until=EXPORTED_UNTIL, incidents=()):
    def listed(name, data_types):
        return DatasetSymbol(name, "spot", moment(2019), None, tuple(data_types), name)

    return ExchangeCatalog(
        venue=venue,
        name=venue,
        available_since=moment(2019),
        exported_from=moment(2019),
        exported_until=exported_until,
        symbols=tuple(listed(name, types) for name, types in symbols),
        groups=tuple(listed(name, types) for name, types in groups),
        incidents=tuple(incidents),
        is_simulated=False,
    )


def make_universe(instruments):
    return pl.DataFrame(
        [
            {
                "instrument_key": key,
                "tardis_symbol": symbol,
                "instrument_type": kind,
                "data_types": list(types),
                "is_simulated": False,
            }
            for key, symbol, kind, types in instruments
        ]
    )


class Partition:
    """A cell with spot instruments, its vendor and its lake."""

    def __init__(self, vendor, lake, symbols=("AUSDT", "BUSDT", "CUSDT", "DUSDT")):
        self.vendor, self.lake, self.symbols = vendor, lake, symbols
        self.cell = VenueDay(DAY, VenueId.BINANCE)
        self.catalog = make_catalog(VenueId.BINANCE, [(name, ["trades"]) for name in symbols])
        self.universe = make_universe(
            [(self.key(name), name, "SPOT_PAIR", ["trades"]) for name in symbols]
        )

    def key(self, symbol):
        return f"BINANCE:SPOT_PAIR:{symbol.removesuffix('USDT')}-USDT"

    def ingest(self, **options):
        options = {"catalog": self.catalog, "universe": self.universe, "limits": LIMITS} | options
        return ingest_raw_ticks(
            self.cell,
            DataType.TRADES,
            lake=self.lake,
            datasets=TardisDatasets(self.vendor.endpoint, limits=QUICK),
            **options,
        )

    def states(self, result):
        return {row.tardis_symbol: row.state for row in result.rows}

    def bytes(self):
        store = self.lake.store
        return {path: store.read(path) for path in store.list("")}

    def frame(self, symbol):
        return self.lake.read_table(RawTickFile(DAY, DataType.TRADES, self.key(symbol)))


@pytest.fixture
def partition(vendor, lake, files):
    made = Partition(vendor, lake)
    for name in made.symbols:
        vendor.put(name, files.gz(files.trades(50, symbol=name)))
    return made


def test_every_instrument_becomes_a_file_and_a_manifest_row(partition):
    seen = []
    result = partition.ingest(on_progress=seen.append)
    assert set(partition.states(result).values()) == {DataState.PRESENT}
    assert [row.rows for row in result.rows] == [50] * 4
    assert result.fetched == 4
    assert result.has_data
    assert result.problem is None
    assert read_raw_manifest(partition.lake, partition.cell, DataType.TRADES) == list(result.rows)
    assert seen[-1].done == seen[-1].total == 4
    assert seen[-1].rows == 200
    assert seen[-1].bytes == result.fetched_bytes
    for row in result.rows:
        stored = RawTickFile(DAY, DataType.TRADES, row.instrument_key)
        assert partition.lake.digest(stored).sha256 == row.content_sha256
        assert partition.lake.size(stored) == row.bytes


def test_the_second_run_asks_for_nothing_and_changes_no_byte(partition):
    first = partition.ingest()
    before = partition.bytes()
    partition.vendor.requests.clear()
    second = partition.ingest()
    assert partition.vendor.requests == []
    assert partition.bytes() == before
    assert (second.fetched, second.reused) == (0, 4)
    assert second.rows == first.rows
    assert second.data_version == first.data_version


def test_force_fetches_all_again_into_the_same_bytes(partition):
    partition.ingest()
    before = partition.bytes()
    result = partition.ingest(force=True)
    assert result.fetched == 4
    assert partition.bytes() == before


def test_named_instruments_are_fetched_again_and_all_others_are_kept(partition, files):
    partition.ingest()
    before = partition.bytes()
    partition.vendor.put("BUSDT", files.gz(files.trades(49, symbol="BUSDT")))
    partition.vendor.requests.clear()
    result = partition.ingest(again=[partition.key("BUSDT")])
    assert (result.fetched, result.reused) == (1, 3)
    assert len(partition.vendor.requests) == 1
    after = partition.bytes()
    changed = {path for path in after if after[path] != before[path]}
    ticks = RawTickFile(DAY, DataType.TRADES, partition.key("BUSDT")).path
    assert {path for path in changed if "_manifests" not in path} == {ticks}
    assert {row.rows for row in result.rows} == {49, 50}


def test_files_to_fetch_again_are_not_taken_over_from_a_run_without_a_manifest(partition):
    partition.ingest()
    partition.lake.delete(RawManifest(DAY, DataType.TRADES, partition.cell.venue))
    result = partition.ingest(again=[partition.key("BUSDT")])
    assert (result.fetched, result.adopted) == (1, 3)


def test_a_name_to_fetch_again_that_nothing_has_is_refused_before_any_request(partition):
    partition.vendor.requests.clear()
    with pytest.raises(InvalidInput, match="BINANCE:SPOT_PAIR:NO-USDT"):
        partition.ingest(again=["BINANCE:SPOT_PAIR:NO-USDT"])
    assert partition.vendor.requests == []


def test_a_deleted_object_is_fetched_again(partition):
    partition.ingest()
    before = partition.bytes()
    partition.lake.delete(RawTickFile(DAY, DataType.TRADES, partition.key("BUSDT")))
    result = partition.ingest()
    assert (result.fetched, result.reused) == (1, 3)
    assert partition.bytes() == before


def test_files_of_a_run_without_a_manifest_are_taken_over(partition):
    first = partition.ingest()
    before = partition.bytes()
    partition.lake.store.delete(next(p for p in before if "_manifests" in p))
    partition.vendor.requests.clear()
    second = partition.ingest()
    assert partition.vendor.requests == []
    assert (second.fetched, second.adopted) == (0, 4)
    assert second.rows == first.rows
    assert partition.bytes() == before


def cut_row(files, name):
    return gzip.compress(files.text(files.trades(50, symbol=name))[:-9])


def bad_crc(files, name):
    data = bytearray(files.gz(files.trades(50, symbol=name)))
    data[-8] ^= 0xFF
    return bytes(data)


def wrong_header(files, name):
    return gzip.compress(files.text(files.trades(5, symbol=name)).replace(b"side", b"taker", 1))


def out_of_order(files, name):
    lines = files.trades(5, symbol=name)
    return files.gz([*lines[1:], lines[0]])


def truncated(files, name):
    return files.gz(files.trades(50, symbol=name))[:-20]


def html(_files, _name):
    return b"<!DOCTYPE html><html>maintenance</html>"


@pytest.mark.parametrize("fault", [cut_row, bad_crc, wrong_header, out_of_order, truncated, html])
def test_a_corrupt_file_is_fetched_twice_set_aside_and_healed(partition, files, fault):
    good = partition.vendor.answers.copy()
    corrupt = fault(files, "BUSDT")
    partition.vendor.put("BUSDT", corrupt)
    result = partition.ingest()
    states = partition.states(result)
    assert states.pop("BUSDT") is DataState.QUARANTINED
    assert set(states.values()) == {DataState.PRESENT}
    assert sum("BUSDT" in path for path in partition.vendor.paths) == 2
    aside = QuarantinedFile(DAY, DataType.TRADES, VenueId.BINANCE, "BUSDT")
    assert partition.lake.store.read(aside.path) == corrupt
    assert partition.frame("BUSDT") is None
    partition.vendor.answers = good
    healed = partition.ingest()
    assert healed.fetched == 1
    assert set(partition.states(healed).values()) == {DataState.PRESENT}
    assert not partition.lake.exists(aside)


def test_a_file_that_is_corrupt_once_is_fetched_again_in_the_same_run(partition, files):
    whole = files.gz(files.trades(50, symbol="BUSDT"))
    partition.vendor.put("BUSDT", whole[:-20], whole)
    assert set(partition.states(partition.ingest()).values()) == {DataState.PRESENT}


@pytest.mark.parametrize(
    "body",
    [b"", gzip.compress(b"", mtime=0), "header"],
    ids=["nothing", "gzip of nothing", "header"],
)
def test_an_empty_file_in_any_shape_is_empty(partition, files, body):
    partition.vendor.put("BUSDT", files.gz([]) if body == "header" else body)
    result = partition.ingest()
    assert partition.states(result)["BUSDT"] is DataState.EMPTY
    assert partition.frame("BUSDT") is None
    partition.vendor.requests.clear()
    partition.ingest()
    assert partition.vendor.requests == []


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (400, {"code": 140, "message": "not available"}, DataState.NOT_LISTED),
        (400, {"code": 300, "message": "Invalid 'symbol'"}, DataState.NOT_LISTED),
        (400, {"code": 100, "message": "Invalid 'exchange'"}, DataState.FAILED),
        (401, {"code": 10, "message": "unauthorized"}, DataState.NO_ENTITLEMENT),
        (404, {}, DataState.FAILED),
        (500, {}, DataState.FAILED),
        (503, {}, DataState.FAILED),
        (429, {"message": "slow down"}, DataState.FAILED),
    ],
)
def test_a_refusal_of_one_file_is_the_state_of_one_instrument(
    partition, answer, status, body, state
):
    good = partition.vendor.answers.copy()
    partition.vendor.put("BUSDT", answer(json.dumps(body).encode(), status))
    result = partition.ingest()
    states = partition.states(result)
    assert states.pop("BUSDT") is state
    assert set(states.values()) == {DataState.PRESENT}
    assert result.problem is None
    partition.vendor.answers = good
    expected = DataState.NOT_LISTED if state.is_settled else DataState.PRESENT
    assert partition.states(partition.ingest())["BUSDT"] is expected


def test_a_body_cut_on_the_way_is_a_failure_that_heals(partition, answer):
    good = partition.vendor.answers.copy()
    partition.vendor.put("BUSDT", answer(b"\x1f\x8b123", promised=5000))
    assert partition.states(partition.ingest())["BUSDT"] is DataState.FAILED
    partition.vendor.answers = good
    assert partition.states(partition.ingest())["BUSDT"] is DataState.PRESENT


def test_a_locked_key_ends_the_requests_and_keeps_what_came(partition, answer):
    lock = {"code": 274, "message": "active from another IP", "retryAfterSeconds": 893}
    partition.vendor.put("BUSDT", answer(json.dumps(lock).encode(), 403))
    result = partition.ingest(limits=IngestLimits(max_concurrent_requests=1, batch_size=2))
    assert isinstance(result.problem, KeyLocked)
    assert result.problem.retry_after_s == 893
    states = partition.states(result)
    assert states == {
        "AUSDT": DataState.PRESENT,
        "BUSDT": DataState.FAILED,
        "CUSDT": DataState.FAILED,
        "DUSDT": DataState.FAILED,
    }
    assert len(partition.vendor.requests) == 2


def test_a_used_up_quota_ends_the_requests(partition, answer):
    partition.vendor.put("AUSDT", answer(b"{}", 429, {"Retry-After": "7200"}))
    result = partition.ingest(limits=IngestLimits(max_concurrent_requests=1))
    assert isinstance(result.problem, QuotaExhausted)
    assert not result.has_data
    assert len(partition.vendor.requests) == 1


def test_a_key_without_entitlement_is_not_tried_on_every_symbol(vendor, lake, answer):
    symbols = tuple(f"S{number:02}USDT" for number in range(20))
    partition = Partition(vendor, lake, symbols)
    refusal = answer(b'{"code": 10, "message": "not covered"}', 401)
    for name in symbols:
        vendor.put(name, refusal)
    result = partition.ingest(limits=IngestLimits(max_concurrent_requests=1))
    assert len(vendor.requests) == 3
    assert set(partition.states(result).values()) == {DataState.NO_ENTITLEMENT}
    assert isinstance(result.problem, NoEntitlement)
    assert not result.has_data


def test_nothing_at_all_is_the_first_error(partition, answer):
    for name in partition.symbols:
        partition.vendor.put(name, answer(b"", 500))
    result = partition.ingest()
    assert isinstance(result.problem, VendorUnavailable)
    assert not result.has_data
    assert set(partition.states(result).values()) == {DataState.FAILED}


def refuse(partition, answer, kind, names=None):
    """Let the vendor refuse files, all of them where none is named."""
    lock = {"code": 274, "message": "active from another IP", "retryAfterSeconds": 893}
    no_key = {"code": 10, "message": "unauthorized"}
    corrupt = answer(b"<!DOCTYPE html><html>maintenance</html>")
    reply = {
        NoEntitlement: answer(json.dumps(no_key).encode(), 401),
        KeyLocked: answer(json.dumps(lock).encode(), 403),
        QuotaExhausted: answer(b"{}", 429, {"Retry-After": "7200"}),
        VendorUnavailable: answer(b"", 500),
        NotAvailable: answer(b'{"code": 140, "message": "not available"}', 400),
        CorruptData: corrupt,
    }[kind]
    for name in names or partition.symbols:
        partition.vendor.put(name, reply)


REFUSED_AGAIN = {
    NoEntitlement: DataState.NO_ENTITLEMENT,
    KeyLocked: DataState.FAILED,
    QuotaExhausted: DataState.FAILED,
    VendorUnavailable: DataState.FAILED,
    NotAvailable: DataState.NOT_LISTED,
    CorruptData: DataState.QUARANTINED,
}


@pytest.mark.parametrize("kind", REFUSED_AGAIN)
def test_a_forced_run_that_takes_no_file_loses_none_and_says_why(partition, answer, kind):
    first = partition.ingest()
    before = partition.bytes()
    good = partition.vendor.answers.copy()
    refuse(partition, answer, kind)
    second = partition.ingest(force=True)
    assert type(second.problem) is kind
    assert "no file could be fetched again, and 4 instruments keep the data" in str(second.problem)
    assert second.is_refused
    assert {row.state for row in second.not_replaced} == {REFUSED_AGAIN[kind]}
    assert all(row.reason for row in second.not_replaced)
    assert [row.instrument_key for row in second.not_replaced] == [
        row.instrument_key for row in first.rows
    ]
    assert second.rows == first.rows
    assert second.data_version == first.data_version
    after = partition.bytes()
    assert {path: after[path] for path in before} == before
    partition.vendor.answers = good
    third = partition.ingest()
    assert (third.problem, third.not_replaced, third.is_refused) == (None, (), False)
    assert partition.ingest(force=True).fetched == 4
    assert partition.bytes() == before


@pytest.mark.parametrize("kind", REFUSED_AGAIN)
def test_a_refetch_that_takes_some_files_says_which_stay_as_they_were(partition, answer, kind):
    first = partition.ingest()
    refuse(partition, answer, kind, ["BUSDT"])
    second = partition.ingest(force=True)
    assert second.rows == first.rows
    assert not second.is_refused
    states = {row.tardis_symbol: row.state for row in second.not_replaced}
    assert states["BUSDT"] is REFUSED_AGAIN[kind]
    if kind in {KeyLocked, QuotaExhausted}:  # which ends the others
        assert isinstance(second.problem, kind)
    else:
        assert second.problem is None
        assert len(states) == 1


def test_named_files_that_are_refused_fail_a_run_that_fetches_nothing_else(partition, answer):
    partition.ingest()
    refuse(partition, answer, NoEntitlement, ["BUSDT"])
    result = partition.ingest(again=[partition.key("BUSDT")])
    assert isinstance(result.problem, NoEntitlement)
    assert [row.tardis_symbol for row in result.not_replaced] == ["BUSDT"]


def test_a_file_the_vendor_never_had_is_no_refusal_of_a_forced_run(partition, answer):
    refuse(partition, answer, NotAvailable)
    partition.ingest()
    result = partition.ingest(force=True)
    assert (result.problem, result.not_replaced, result.is_refused) == (None, (), False)


def test_a_day_that_is_not_exported_yet_is_not_asked_for(partition):
    catalog = make_catalog(
        VenueId.BINANCE, [], exported_until=dt.datetime(2024, 8, 8, tzinfo=dt.UTC)
    )
    result = partition.ingest(catalog=catalog)
    assert set(partition.states(result).values()) == {DataState.NOT_EXPORTED_YET}
    assert partition.vendor.requests == []
    assert not result.has_data


def test_a_missing_file_on_a_day_with_an_incident_is_an_incident(partition, answer):
    start = dt.datetime(2024, 8, 8, 3, tzinfo=dt.UTC)
    incident = Incident(start, start + dt.timedelta(hours=1), "resolved", "recorder down")
    catalog = make_catalog(
        VenueId.BINANCE, [(name, ["trades"]) for name in partition.symbols], incidents=[incident]
    )
    partition.vendor.put("BUSDT", answer(b'{"code": 140, "message": "none"}', 400))
    row = partition.ingest(catalog=catalog).rows[1]
    assert row.state is DataState.INCIDENT
    assert "recorder down" in row.reason


def test_rows_that_break_a_rule_are_kept_aside_with_it(partition, files):
    good = partition.vendor.answers.copy()
    lines = files.trades(20, symbol="BUSDT")
    bad = [
        files.trade(20, symbol="BUSDT", price=0),
        files.trade(21, symbol="BUSDT", amount=-1),
        files.trade(22, symbol="BUSDT", timestamp=files.start_us - 2 * 3_600_000_000),
        files.trade(23, symbol="BUSDT", id=1000),
        files.trade(24, symbol="BUSDT", price="nan"),
    ]
    partition.vendor.put("BUSDT", files.gz([*lines, *bad]))
    row = partition.ingest().rows[1]
    assert (row.source_rows, row.rows, row.quarantined_rows) == (25, 20, 5)
    assert row.duplicate_rows == 1
    item = QuarantinedRows(DAY, DataType.TRADES, row.instrument_key)
    aside = partition.lake.read_table(item)
    assert aside["reason"].to_list() == [
        "not_positive",
        "not_positive",
        "clocks_apart",
        "not_finite",
        "duplicate_id",
    ]
    partition.vendor.answers = good
    partition.ingest(force=True)
    assert not partition.lake.exists(item)


def test_options_come_in_one_file_and_leave_as_many(vendor, lake, files):
    cell = VenueDay(DAY, VenueId.DERIBIT)
    names = [f"BTC-9AUG24-{strike}-C" for strike in range(50_000, 50_010)]
    universe = make_universe(
        [(f"DERIBIT:OPTION:{name}", name, "OPTION", ["trades"]) for name in names]
    )
    catalog = make_catalog(
        VenueId.DERIBIT,
        [(name, ["trades"]) for name in names],
        groups=[(GroupSymbol.OPTIONS, ["trades"])],
    )
    lines = [
        files.trade(number, venue="deribit", symbol=[*names[:8], "BTC-FS-X"][number % 9])
        for number in range(90)
    ]
    vendor.put("OPTIONS", files.gz(lines), venue="deribit")

    def ingest(**options):
        return ingest_raw_ticks(
            cell,
            DataType.TRADES,
            lake=lake,
            catalog=catalog,
            universe=universe,
            datasets=TardisDatasets(vendor.endpoint, limits=QUICK),
            limits=LIMITS,
            **options,
        )

    result = ingest()
    assert len(vendor.requests) == 1
    assert [row.rows for row in result.rows] == [10] * 8 + [0, 0]
    assert [row.state for row in result.rows[7:]] == [
        DataState.PRESENT,
        DataState.EMPTY,
        DataState.EMPTY,
    ]
    assert result.unexpected_rows == 10
    strangers = lake.read_table(QuarantinedRows(DAY, DataType.TRADES, "DERIBIT:GROUP:OPTIONS"))
    assert strangers["symbol"].unique().to_list() == ["BTC-FS-X"]
    before = {path: lake.store.read(path) for path in lake.store.list("")}

    lake.store.delete(next(path for path in before if "_manifests" in path))
    adopted = ingest()
    assert len(vendor.requests) == 1
    assert adopted.rows == result.rows

    lake.delete(RawTickFile(DAY, DataType.TRADES, f"DERIBIT:OPTION:{names[3]}"))
    lake.store.delete(next(path for path in before if "_manifests" in path))
    assert ingest().fetched == 1
    assert {path: lake.store.read(path) for path in lake.store.list("")} == before


def test_a_run_without_work_still_reports_that_it_is_finished(partition):
    partition.ingest()
    seen = []
    partition.ingest(on_progress=seen.append)
    assert [(step.done, step.total, step.is_finished) for step in seen] == [(0, 0, True)]


def test_an_instrument_that_becomes_empty_leaves_no_old_file(partition, files):
    partition.ingest()
    partition.vendor.put("BUSDT", files.gz([]))
    result = partition.ingest(force=True)
    assert partition.states(result)["BUSDT"] is DataState.EMPTY
    assert partition.frame("BUSDT") is None


def test_a_manifest_that_cannot_be_read_is_written_anew(partition):
    first = partition.ingest()
    path = next(path for path in partition.bytes() if "_manifests" in path)
    partition.lake.store.write(path, b"garbage")
    partition.vendor.requests.clear()
    assert partition.ingest().rows == first.rows
    assert partition.vendor.requests == []


def test_files_come_in_batches_and_leave_no_local_copy(partition):
    partition.ingest(limits=IngestLimits(batch_size=1, max_workers=1, max_concurrent_requests=1))
    assert list((partition.lake.store.root / "_scratch").iterdir()) == []


def test_a_partition_without_instruments_has_an_empty_manifest(partition):
    empty = partition.universe.clear()
    result = partition.ingest(universe=empty)
    assert result.rows == ()
    assert result.has_data
    assert partition.vendor.requests == []
