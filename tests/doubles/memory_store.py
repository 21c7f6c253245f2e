"""An object store in a dictionary: the shortest thing that keeps the Protocol's promises.

What belongs here: what the contract says, plainly, as a second opinion on the stores that are used.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from pathlib import Path

from tickhandler_dagster.market.errors import ConcurrentWrite


class SharedObjects:
    """What several memory stores look at, as several processes look at one bucket."""

    def __init__(self):
        self.lock = threading.Lock()
        self.objects = {}
        self.writes = 0


class MemoryObjectStore:
    requests_at_once = 1

    def __init__(self, shared=None):
        self._shared = shared or SharedObjects()
        self._seen = {}
        self._folder = Path(tempfile.mkdtemp(prefix="memory-store-"))

    def close(self):
        shutil.rmtree(self._folder)

    def read(self, path):
        with self._shared.lock:
            version, data = self._shared.objects.get(path, (0, None))
            self._seen[path] = version
        return data

    def write(self, path, data):
        with self._shared.lock:
            version, present = self._shared.objects.get(path, (0, None))
            if self._seen.get(path, version) != version and present != data:
                del self._seen[path]
                raise ConcurrentWrite(path, "changed since it was read", remedy="Read it anew")
            self._shared.writes += 1
            self._shared.objects[path] = self._shared.writes, data
            self._seen[path] = self._shared.writes

    def publish(self, local_file, path):
        self.write(path, local_file.read_bytes())
        local_file.unlink()

    def size(self, path):
        with self._shared.lock:
            found = self._shared.objects.get(path)
            if found is None:
                self._seen[path] = 0
        return None if found is None else len(found[1])

    def delete(self, path):
        with self._shared.lock:
            self._shared.objects.pop(path, None)
            self._seen[path] = 0

    def list(self, prefix):
        yield from sorted(path for path in self._shared.objects if path.startswith(prefix))

    def local(self, path):
        data = self.read(path)
        if data is None:
            return None
        file = self._folder / path.encode().hex()[-200:]
        file.write_bytes(data)
        return file

    @contextlib.contextmanager
    def scratch(self):
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            yield Path(folder)
