"""The walk over files that other processes add and remove: it ends, and says what was there."""

import os
import shutil
import threading

import pytest

from tickhandler_dagster.adapters.folder_walk import files_below
from tickhandler_dagster.adapters.object_store import LocalObjectStore
from tickhandler_dagster.adapters.spool import spool_bytes
from tickhandler_dagster.market.errors import StorageDenied


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path, _ in files_below(folder))


def test_every_file_is_met_once_with_its_size(tmp_path):
    kept = {"a": 1, "b/c": 20, "b/d/e": 300}
    for name, size in kept.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "empty").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    found = {
        path.relative_to(tmp_path).as_posix(): at.st_size for path, at in files_below(tmp_path)
    }
    assert found == kept


def test_there_are_no_files_where_there_is_no_folder(tmp_path):
    assert names(tmp_path / "gone") == []
    assert spool_bytes(tmp_path / "gone") == 0


def test_a_folder_that_goes_while_it_is_looked_at_was_never_there(tmp_path):
    for folder in ("first", "second"):
        (tmp_path / folder / "deep").mkdir(parents=True)
        (tmp_path / folder / "deep" / "file").touch()
    (tmp_path / "file").touch()
    walk = files_below(tmp_path)
    assert next(walk)[0] == tmp_path / "file"
    shutil.rmtree(tmp_path / "second")
    assert [path for path, _ in walk] == [tmp_path / "first" / "deep" / "file"]


def test_a_folder_that_may_not_be_read_is_no_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "kept" / "day").mkdir(parents=True)
    look = os.scandir

    def refuse(path):
        if str(path).endswith("day"):
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StorageDenied, match=r"day: permission denied.*STREAMING_SPOOL_FOLDER"):
        spool_bytes(tmp_path)
    with pytest.raises(StorageDenied, match=r"day: permission denied.*LAKE_ROOT"):
        list(LocalObjectStore(tmp_path).list("kept/"))


def test_folders_are_counted_and_listed_while_others_come_and_go(tmp_path):
    store = LocalObjectStore(tmp_path)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "object").write_bytes(bytes(7))
    is_over = threading.Event()

    def churn():
        while not is_over.is_set():
            with store.scratch() as scratch:
                (scratch / "deep").mkdir()

    writers = [threading.Thread(target=churn) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(300):
            assert spool_bytes(tmp_path) == 7
            assert list(store.list("")) == ["kept/object"]
    finally:
        is_over.set()
        for writer in writers:
            writer.join()
