"""What a kill, a full disk and a missing permission leave behind: never a part of a file."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.catalog import DatasetSymbol, ExchangeCatalog
from tickhandler_dagster.market.venues import VenueId

SYMBOLS = ("AUSDT", "BUSDT", "CUSDT")

PROGRAM = textwrap.dedent(
    """
    import datetime as dt, os, signal, sys
    from pathlib import Path
    import polars as pl
    from tickhandler_dagster.adapters.lake import Lake
    from tickhandler_dagster.adapters.object_store import LocalObjectStore
    from tickhandler_dagster.adapters.tardis_datasets import RequestLimits, TardisDatasets
    from tickhandler_dagster.market.catalog import parse_catalog
    from tickhandler_dagster.market.data_types import DataType
    from tickhandler_dagster.market.days import VenueDay
    from tickhandler_dagster.market.errors import TickhandlerError
    from tickhandler_dagster.pipeline.raw_ticks import IngestLimits, ingest_raw_ticks

    def ingest(root, endpoint, catalog):
        catalog = parse_catalog(Path(catalog).read_bytes())
        universe = pl.DataFrame([
            {"instrument_key": f"BINANCE:SPOT_PAIR:{s.id}", "tardis_symbol": s.id,
             "instrument_type": "SPOT_PAIR", "data_types": ["trades"], "is_simulated": False}
            for s in catalog.symbols])
        return ingest_raw_ticks(
            VenueDay(dt.date(2024, 8, 8), catalog.venue), DataType.TRADES,
            lake=Lake(LocalObjectStore(Path(root))), catalog=catalog, universe=universe,
            datasets=TardisDatasets(endpoint, limits=RequestLimits(attempts=1, file_timeout_s=20)),
            limits=IngestLimits(max_concurrent_requests=2, max_workers=1, batch_size=2))

    def attempt(*where):
        try:
            print(sorted({str(row.state) for row in ingest(*where).rows}))
        except TickhandlerError as error:
            print(type(error).__name__, error)
    """
)

KILLED = """
    where, step = sys.argv[1:4], int(sys.argv[4])
    files = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "tempfile.mkdtemp"}
    kills = 0
    for point in range(1, 10_000, step):
        child = os.fork()
        if not child:
            left = point
            def strike(event, _args):
                global left
                if event in files:
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
            sys.addaudithook(strike)
            ingest(*where)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        kills += 1
        root = Path(where[0])
        assert not list(root.rglob("*.unconfirmed")) or (root / "_scratch").is_dir()
        for file in root.rglob("*.parquet"):
            if "_scratch" not in file.parts:
                known = Path(sys.argv[5]) / file.relative_to(root)
                assert file.read_bytes() == known.read_bytes(), file
    print(kills)
"""


def run(body, *arguments, prefix=()):
    code = PROGRAM + textwrap.dedent(body)
    command = [*prefix, sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def catalog(tmp_path):
    start = dt.datetime(2019, 1, 1, tzinfo=dt.UTC)
    value = ExchangeCatalog(
        venue=VenueId.BINANCE,
        name="Binance",
        available_since=start,
        exported_from=start,
        exported_until=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        symbols=tuple(
            DatasetSymbol(name, "spot", start, None, ("trades",), name) for name in SYMBOLS
        ),
        groups=(),
        incidents=(),
        is_simulated=False,
    )
    path = tmp_path / "catalog.json"
    path.write_bytes(value.to_json())
    return path


@pytest.fixture
def serving(vendor, files):
    for name in SYMBOLS:
        lines = [*files.trades(300, symbol=name), files.trade(300, symbol=name, price=0)]
        vendor.put(name, files.gz(lines))
    return vendor


def objects(root):
    store = LocalObjectStore(root)
    return {path: store.read(path) for path in store.list("")}


def test_a_kill_at_any_file_operation_leaves_whole_files_and_heals(serving, catalog, tmp_path):
    clean, struck = tmp_path / "clean", tmp_path / "struck"
    run("attempt(*sys.argv[1:4])", clean, serving.endpoint, catalog)
    kills = int(run(KILLED, struck, serving.endpoint, catalog, 5, clean))
    assert kills > 5
    assert run("attempt(*sys.argv[1:4])", struck, serving.endpoint, catalog) == "['present']"
    assert objects(struck) == objects(clean)
    Lake(LocalObjectStore(struck)).store.write("exchange_catalog/venue-x/a.json", b"{}")
    assert list((struck / "_scratch").iterdir()) == []


def test_a_full_disk_is_said_and_heals_when_there_is_space(serving, catalog, tmp_path, files):
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here to mount a small disk with")
    root = tmp_path / "small"
    root.mkdir()
    for name in SYMBOLS:
        serving.put(name, files.gz(files.trades(60_000, symbol=name)))
    body = """
        import subprocess
        where = sys.argv[1:4]
        mount = ["mount", "-t", "tmpfs", "none", where[0], "-o"]
        subprocess.run([*mount, "size=600k"], check=True)
        attempt(*where)
        subprocess.run([*mount, "remount,size=64m"], check=True)
        attempt(*where)
        print(len(list((Path(where[0]) / "_scratch").iterdir())))
    """
    said = run(body, root, serving.endpoint, catalog, prefix=("unshare", "-rm")).splitlines()
    assert said[0].startswith("StorageFull")
    assert "LAKE_ROOT" in said[0]
    assert said[1:] == ["['present']", "0"]


@pytest.fixture
def public_folder():
    """A folder that another user can enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def test_a_lake_without_permission_is_said_with_the_remedy(serving, catalog, public_folder):
    root = public_folder / "lake"
    root.mkdir(mode=0o755)
    catalog = shutil.copy(catalog, public_folder)
    body = """
        where = sys.argv[1:4]
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        else:
            os.chmod(where[0], 0o500)
        attempt(*where)
    """
    said = run(body, root, serving.endpoint, catalog)
    assert said.startswith("StorageDenied")
    assert "LAKE_ROOT" in said
    assert objects(root) == {}
