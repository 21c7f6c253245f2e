"""The embedded server: metadata API, datasets API and the storage it redirects to, on loopback.

What belongs here: starting and stopping it, and what tests may see of it. Replies are
`handlers.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Mapping
from types import TracebackType

from aiohttp import web

from tickhandler_dagster.market.errors import InvalidSetting
from tickhandler_dagster.sandbox.dataset_gate import SANDBOX_KEY, KeyRights
from tickhandler_dagster.sandbox.faults import FaultPlan
from tickhandler_dagster.sandbox.handlers import ApiHost, RequestRecord, StorageHost
from tickhandler_dagster.sandbox.kline_faults import KlineFaultPlan
from tickhandler_dagster.sandbox.kline_host import KlineHost
from tickhandler_dagster.sandbox.source import Source

_HOST = "127.0.0.1"
_STORAGE_NAME = "localhost"
_SHUTDOWN_S = 0.5
_WAKE_S = 0.5


class SandboxServer:
    """A vendor in this process. Use it in a `with` statement, or call `serve_forever`.

    Args:
        source: Where catalogue and files come from.
        api_keys: Rights of each key; None is one key, `TD.sandbox`, that opens everything.
        faults: What goes wrong; the plan may be changed while the server runs.
        port: Port of the API; 0 is any free one.

    Example:
        ```python
        with SandboxServer(Simulator(seed=7)) as server:
            download_datasets(..., api_key=SANDBOX_KEY, endpoint=server.datasets_url)
        ```

    Attributes:
        faults: What goes wrong with files.
        kline_faults: What goes wrong with klines.
    """

    def __init__(
        self,
        source: Source,
        *,
        api_keys: Mapping[str, KeyRights] | None = None,
        faults: FaultPlan | None = None,
        port: int = 0,
    ) -> None:
        self.faults = faults if faults is not None else FaultPlan()
        self.kline_faults = KlineFaultPlan()
        self._records: list[RequestRecord] = []
        self._storage = StorageHost(source, self._records)
        keys = {SANDBOX_KEY: KeyRights()} if api_keys is None else api_keys
        self._api = ApiHost(source, self._storage, keys, self.faults)
        self._klines = KlineHost(source, self.kline_faults)
        self._port = port
        self._ports: dict[str, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._failure: OSError | None = None

    @property
    def api_url(self) -> str:
        """Base address of the metadata API."""
        return f"http://{_HOST}:{self._ports['api']}/v1"

    @property
    def klines_url(self) -> str:
        """Address that stands for those of the venues' own APIs."""
        return f"http://{_HOST}:{self._ports['api']}"

    @property
    def datasets_url(self) -> str:
        """Base address of the datasets."""
        return self.api_url

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """Every request answered so far, on both hosts."""
        return tuple(self._records)

    def forget_requests(self) -> None:
        """Start the log afresh."""
        self._records.clear()

    def start(self) -> None:
        """Serve from a thread of its own; returns when the ports are open.

        Raises:
            InvalidSetting: the port is taken.
        """
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(ready,), name="sandbox", daemon=True
        )
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise InvalidSetting(
                "port",
                "cannot be opened",
                was=self._port,
                remedy="Choose a free port, or 0 for any",
            ) from self._failure

    def stop(self) -> None:
        """Close the ports and end the thread."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = None

    def serve_forever(self) -> None:
        """Serve until interrupted (Ctrl-C)."""
        with self, contextlib.suppress(KeyboardInterrupt):
            # One wait without end is not interrupted where the kernel hands the signal to another
            # thread than this one.
            while True:
                time.sleep(_WAKE_S)

    def __enter__(self) -> SandboxServer:  # noqa: PYI034  (Self would hide the class from the reader of the example)
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self, ready: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        runners: list[web.AppRunner] = []
        try:
            loop.run_until_complete(self._open(runners))
            self._loop = loop
            ready.set()
            loop.run_forever()
        except OSError as error:
            self._failure = error
        finally:
            for runner in runners:
                loop.run_until_complete(runner.cleanup())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            ready.set()

    async def _open(self, runners: list[web.AppRunner]) -> None:
        api = self._api.application()
        self._klines.add_routes(api)
        hosts = (("storage", self._storage.application(), 0), ("api", api, self._port))
        for name, application, port in hosts:
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_S)
            await runner.setup()
            runners.append(runner)
            await web.TCPSite(runner, _HOST, port).start()
            self._ports[name] = runner.addresses[0][1]
        # Another name for the same machine: clients drop their Authorization between hosts, and
        # must.
        self._storage.base_url = f"http://{_STORAGE_NAME}:{self._ports['storage']}"
