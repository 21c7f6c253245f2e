"""The local object store's own: tidy after the dead, and clear about its device.

What it shares with every other store is in `test_store_contract.py`.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tickhandler_dagster.adapters.leftovers import owner_tag, sweep_leftovers
from tickhandler_dagster.adapters.object_store import (
    LocalObjectStore,
    storage_error,
    storage_errors,
)
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    InvalidSetting,
    StorageDenied,
    StorageFull,
)


@pytest.fixture
def store(tmp_path):
    return LocalObjectStore(tmp_path / "lake")


def test_publishing_from_another_device_copies_and_leaves_no_temporary(
    store, tmp_path, monkeypatch
):
    local = tmp_path / "x"
    local.write_bytes(b"data")
    real = Path.replace

    def across_devices(self, target):
        if self == local:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", across_devices)
    store.publish(local, "x")
    assert store.read("x") == b"data"
    assert not local.exists()
    assert [file.name for file in store.root.iterdir()] == ["x"]


def test_a_refused_write_from_another_device_leaves_no_temporary_and_keeps_the_file(
    store, tmp_path, monkeypatch
):
    local = tmp_path / "x"
    local.write_bytes(b"mine")
    real = Path.replace

    def across_devices(self, target):
        if self == local:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return real(self, target)

    assert store.read("x") is None
    monkeypatch.setattr(Path, "replace", across_devices)
    copy_beside = store._copy_beside

    def slowly(source, path):
        LocalObjectStore(store.root).write("x", b"of another")
        copy_beside(source, path)

    monkeypatch.setattr(store, "_copy_beside", slowly)
    with pytest.raises(ConcurrentWrite, match="Nothing was overwritten"):
        store.publish(local, "x")
    assert local.read_bytes() == b"mine"
    assert list(store.list("")) == ["x"]
    assert [file.name for file in store.root.iterdir() if file.is_file()] == ["x"]


def test_a_file_changed_in_place_is_another_version(store):
    store.write("x", b"1")
    (store.root / "x").write_bytes(b"2")
    with pytest.raises(ConcurrentWrite):
        store.write("x", b"3")


def test_writers_of_one_folder_wait_for_each_other(store):
    """Between the look at the object and the rename nobody else comes in."""
    store.write("a/x", b"0")
    inside, most, guard = [], [], threading.Lock()
    real = Path.replace

    def slow(self, target):
        with guard:
            inside.append(1)
            most.append(len(inside))
        time.sleep(0.01)
        real(self, target)
        with guard:
            inside.pop()

    with ThreadPoolExecutor(6) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", slow)
        list(pool.map(lambda n: LocalObjectStore(store.root).write(f"a/{n}", b"1"), range(12)))
    assert max(most) == 1


def test_a_scratch_folder_is_gone_after_an_error(store):
    def fail():
        with store.scratch() as folder:
            (folder / "x").write_bytes(b"1")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list((store.root / "_scratch").iterdir()) == []
    assert list(store.list("")) == []


def test_only_leftovers_of_dead_writers_are_swept(tmp_path):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], check=True,
                          capture_output=True, text=True)  # fmt: skip
    host = owner_tag().split("-")[1]
    names = {
        f"w-{host}-{int(done.stdout)}-abc": False,
        f".w-{host}-{int(done.stdout)}-abc.tmp": False,
        f"w-{host}-{os.getpid()}-abc": True,
        f"w-{host}-{os.getppid()}-abc": True,
        "w-elsewhere-1-young": True,
        "w-elsewhere-1-old": False,
        "somebody.parquet": True,
    }
    for name in names:
        (tmp_path / name).write_bytes(b"")
    os.utime(tmp_path / "w-elsewhere-1-old", (time.time() - 90_000,) * 2)
    assert sweep_leftovers(tmp_path) == 3
    assert {entry.name for entry in tmp_path.iterdir()} == {
        n for n, stays in names.items() if stays
    }


def test_a_process_that_took_over_the_id_of_a_dead_writer_does_not_protect_its_leftovers(tmp_path):
    host = owner_tag().split("-")[1]
    left = tmp_path / f"w-{host}-{os.getppid()}-abc"
    left.mkdir()
    os.utime(left, (1_000_000_000, 1_000_000_000))
    assert sweep_leftovers(tmp_path) == 1
    assert socket.gethostname()


def test_a_full_device_is_transient_and_says_what_to_do():
    def fill():
        with storage_errors("/dev/full"), Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(StorageFull, match=r"no space left on device.*LAKE_ROOT"):
        fill()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EACCES, StorageDenied),
        (errno.EPERM, StorageDenied),
        (errno.EROFS, StorageDenied),
        (errno.ENOTDIR, InvalidSetting),
        (errno.EIO, InvalidSetting),
    ],
)
def test_every_device_error_names_the_path_and_the_setting(number, kind):
    error = storage_error(OSError(number, "x", "/lake/a"), "ignored")
    assert type(error) is kind
    assert str(error).startswith("/lake/a: ")
    assert "LAKE_ROOT" in str(error)


def test_a_root_that_is_a_file_is_a_wrong_setting(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    store = LocalObjectStore(tmp_path / "file")
    with pytest.raises(InvalidSetting, match=r"not a directory.*LAKE_ROOT"):
        store.write("a", b"")
