"""What every object store promises, asked of each: a folder, a dictionary, a bucket."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from doubles.memory_store import MemoryObjectStore, SharedObjects

from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.gcs_store import GcsObjectStore
from tickhandler_dagster.adapters.object_cache import ObjectCache
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.market.errors import ConcurrentWrite

NAMES = (
    "plain",
    "venue=binance-futures/date=2024-08-08/BTCUSDT.parquet",
    "klines/BINANCE:PERP:1000SATS_USDT.json",
    "names/Ünïcode — 比特币/ß",
    "names/with space, %41, #1 & [2] ~ + = ' @!$*(){}^|`",
    "names/.hidden",
)

OPEN = """
import sys, pathlib
from tickhandler_dagster.adapters import gcs_store, gcs_uploads
from tickhandler_dagster.adapters.gcp_credentials import load_credentials
from tickhandler_dagster.adapters.object_cache import ObjectCache
from tickhandler_dagster.adapters.object_store import LocalObjectStore
kind, where, folder = sys.argv[1:4]
if kind == "local":
    store = LocalObjectStore(pathlib.Path(folder))
else:
    endpoint, _, bucket = where.rpartition("/")
    gcs_store.WHOLE_BYTES = 100_000
    gcs_uploads.PART_BYTES = 300_000
    store = gcs_store.GcsObjectStore(
        bucket, prefix="lake", credentials=load_credentials(None, is_emulated=True),
        cache=ObjectCache(pathlib.Path(folder), 10**9), endpoint=endpoint,
    )
"""


class Site:
    """One place, and stores on it, each as a process of its own would have it."""

    def __init__(self, kind, folder, gcs):
        self.kind, self.folder, self.gcs = kind, folder, gcs
        self.bucket = gcs.bucket() if kind == "gcs" else None
        self._shared = SharedObjects()
        self.closing = []

    def open(self):
        if self.kind == "local":
            return LocalObjectStore(self.folder / "lake")
        if self.kind == "memory":
            store = MemoryObjectStore(self._shared)
            self.closing.append(store.close)
            return store
        return GcsObjectStore(
            self.bucket,
            prefix="lake",
            credentials=load_credentials(None, is_emulated=True),
            cache=ObjectCache(self.folder / "cache", 10**9),
            endpoint=self.gcs.endpoint,
        )

    def process(self, code):
        where = f"{self.gcs.endpoint}/{self.bucket}"
        folder = str(self.folder / ("lake" if self.kind == "local" else "cache"))
        return subprocess.Popen(
            [sys.executable, "-c", OPEN + code, self.kind, where, folder],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(params=["local", "memory", "gcs"])
def site(request, tmp_path, gcs):
    site = Site(request.param, tmp_path, gcs)
    yield site
    for close in site.closing:
        close()


@pytest.fixture(params=["local", "gcs"])
def shared_site(request, tmp_path, gcs):
    """A place that other processes reach too."""
    return Site(request.param, tmp_path, gcs)


@pytest.fixture
def store(site):
    return site.open()


@pytest.mark.parametrize("name", NAMES)
def test_an_object_comes_back_under_any_name(store, name):
    store.write(name, name.encode())
    assert store.read(name) == name.encode()
    assert store.size(name) == len(name.encode())
    assert store.local(name).read_bytes() == name.encode()
    assert list(store.list("")) == [name]
    store.delete(name)
    assert list(store.list("")) == []


def test_nothing_is_said_of_an_object_that_is_not_there(store):
    assert store.read("a/b") is None
    assert store.size("a/b") is None
    assert store.local("a/b") is None
    assert list(store.list("a/")) == []
    store.delete("a/b")
    store.delete("a/b")


def test_objects_are_listed_in_order_by_the_beginning_of_their_path(store):
    for path in ("b/2", "a/1", "b/1", "b/1/deep", "ba", "b2/x"):
        store.write(path.replace("b/1/", "b/1_/"), b"")
    everything = ["a/1", "b/1", "b/1_/deep", "b/2", "b2/x", "ba"]
    assert list(store.list("")) == everything
    for prefix in ("b", "b/", "b/1", "b/1_", "b2", "c", "a/1"):
        assert list(store.list(prefix)) == [p for p in everything if p.startswith(prefix)]


def test_more_objects_than_a_page_are_all_listed(site):
    store = site.open()
    paths = [f"many/{number % 7}/{number:05}" for number in range(2500)]
    if site.kind == "gcs":  # the listing is what is tested
        for path in paths:
            site.gcs.put(site.bucket, f"lake/{path}", b"")
    else:
        for path in paths:
            (site.folder / "lake" / path).parent.mkdir(parents=True, exist_ok=True)
            if site.kind == "local":
                (site.folder / "lake" / path).write_bytes(b"")
            else:
                store.write(path, b"")
    site.gcs.forget()
    assert list(store.list("many/")) == sorted(paths)
    if site.kind == "gcs":
        assert site.gcs.count("GET") == 3


@pytest.mark.parametrize("size", [0, 1, 64 * 2**20 + 1])
def test_an_object_of_any_size_comes_back(store, size):
    data = (b"%d" % size * (size // 2 + 1))[:size]
    with store.scratch() as folder:
        file = folder / "object"
        file.write_bytes(data)
        store.publish(file, "deep/er/object")
        assert not file.exists()
    assert not folder.exists()
    assert store.size("deep/er/object") == size
    assert store.read("deep/er/object") == data
    assert store.local("deep/er/object").read_bytes() == data
    assert list(store.list("")) == ["deep/er/object"]


def test_objects_published_by_many_threads_are_all_there(store):
    def publish(number):
        with store.scratch() as folder:
            (folder / "x").write_bytes(b"%d" % number * 1000)
            store.publish(folder / "x", f"t/{number % 5}/{number:03}")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(publish, range(100)))
    assert len(list(store.list("t/"))) == 100
    assert store.read("t/2/042") == b"42" * 1000


def test_a_reader_meets_the_old_object_or_the_new_one(site):
    kinds = [bytes([65 + number]) * 300_000 for number in range(3)]
    writer, reader, seen = site.open(), site.open(), set()
    writer.write("x", kinds[0])
    is_over = threading.Event()

    def read():
        while not is_over.is_set():
            seen.add(reader.read("x"))
            seen.add(reader.local("x").read_bytes())

    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        for number in range(30):
            writer.write("x", kinds[number % 3])
        is_over.set()
        reading.result()
    assert seen <= set(kinds)


def test_of_two_writers_who_read_the_same_object_one_is_told(site):
    first, second = site.open(), site.open()
    first.write("x", b"old")
    assert second.read("x") == b"old"
    first.write("x", b"first")
    with pytest.raises(ConcurrentWrite, match="changed"):
        second.write("x", b"second")
    assert first.read("x") == b"first"


def test_of_two_writers_who_found_nothing_one_is_told(site):
    first, second = site.open(), site.open()
    assert first.size("x") is None
    assert second.local("x") is None
    second.write("x", b"second")
    with first.scratch() as folder:
        (folder / "x").write_bytes(b"first")
        with pytest.raises(ConcurrentWrite):
            first.publish(folder / "x", "x")
    assert first.read("x") == b"second"


def test_a_writer_who_was_told_is_let_through_when_it_tries_again(site):
    first, second = site.open(), site.open()
    second.read("x")
    first.write("x", b"first")
    with pytest.raises(ConcurrentWrite):
        second.write("x", b"second")
    second.write("x", b"second")
    assert first.read("x") == b"second"


def test_a_writer_goes_on_from_what_it_wrote_itself(site):
    store = site.open()
    store.read("x")
    for number in range(3):
        store.write("x", b"%d" % number)
    store.delete("x")
    store.write("x", b"again")
    assert store.read("x") == b"again"


def test_a_writer_who_finds_the_same_bytes_there_has_nothing_to_complain_of(site):
    first, second = site.open(), site.open()
    second.read("x")
    first.write("x", b"same")
    second.write("x", b"same")
    second.write("x", b"next")
    assert first.read("x") == b"next"


def test_a_writer_who_never_looked_overwrites(site):
    site.open().write("x", b"1")
    site.open().write("x", b"2")
    assert site.open().read("x") == b"2"


def test_an_object_deleted_by_another_is_written_anew_by_who_noticed(site):
    first, second = site.open(), site.open()
    first.write("x", b"1")
    second.delete("x")
    assert first.size("x") is None
    first.write("x", b"2")
    assert second.read("x") == b"2"


def test_an_object_deleted_by_another_is_not_brought_back_by_who_did_not_notice(site):
    first, second = site.open(), site.open()
    first.write("x", b"1")
    second.delete("x")
    with pytest.raises(ConcurrentWrite):
        first.write("x", b"2")


def test_who_asks_for_the_size_alone_has_not_seen_the_change(site):
    first, second = site.open(), site.open()
    assert first.read("x") is None
    second.write("x", b"of the other")
    assert first.size("x") == 12
    with pytest.raises(ConcurrentWrite):
        first.write("x", b"mine")


def test_of_many_processes_that_add_to_one_object_none_is_lost(shared_site):
    code = """
from tickhandler_dagster.market.errors import ConcurrentWrite
import os
added = 0
sys.stdin.readline()
while added < 10:
    line = b"%d %d\\n" % (os.getpid(), added)
    try:
        store.write("sum", (store.read("sum") or b"") + line)
        added += 1
    except ConcurrentWrite:
        pass
"""
    processes = [shared_site.process(code) for _ in range(3)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    lines = shared_site.open().read("sum").splitlines()
    assert len(lines) == len(set(lines)) == 30


def test_a_writer_killed_at_any_point_leaves_the_old_object_or_the_new_one(shared_site):
    code = """
print("ready", flush=True)
number = int(sys.stdin.readline())
while True:
    with store.scratch() as folder:
        number = number % 9 + 1
        (folder / "x").write_bytes(b"%d" % number * 2_000_000)
        store.publish(folder / "x", "x")
"""
    chance, kinds = random.Random(5), {b"%d" % n * 2_000_000 for n in range(10)}
    store = shared_site.open()
    store.write("x", b"0" * 2_000_000)
    for start in range(6):
        process = shared_site.process(code)
        process.stdout.readline()
        process.stdin.write(f"{start}\n")
        process.stdin.flush()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.01, 0.6))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdin.close()
        process.stdout.close()
        assert store.read("x") in kinds
        assert list(store.list("")) == ["x"]
    store.write("x", b"after")
    assert store.read("x") == b"after"
