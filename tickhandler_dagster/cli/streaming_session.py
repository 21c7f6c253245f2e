"""A live session: feed, engine, sinks, server and reports run together and end in order.

What belongs here: what is started, watched and ended, and in which order. What does not: the parts
(`streaming_parts.py`) and what is shown (`streaming_screen.py`).

Its end is the same however it comes: Ctrl-C, SIGTERM, `--duration`, a replay that is over. Capture
ends first, then bars are made of what is in the spool, then sinks make it durable, then the last
report says that the session was ended. A second signal ends it at once; nothing is lost by that,
for the spool and the checkpoints are what they are after any kill.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.status import Status

from tickhandler_dagster.adapters.file_lock import exclusive_lock
from tickhandler_dagster.adapters.spool_reader import SpoolReader
from tickhandler_dagster.adapters.spool_retention import SpoolCursors, require_kept, sweep
from tickhandler_dagster.cli.exit_codes import EXIT_FAILED_RUN
from tickhandler_dagster.cli.streaming_parts import (
    bar_sink,
    build_feed,
    choose,
    kept_types,
    tick_target,
)
from tickhandler_dagster.cli.streaming_reports import Reports, open_reports
from tickhandler_dagster.cli.streaming_request import StreamingRequest, Target
from tickhandler_dagster.cli.streaming_running import Session
from tickhandler_dagster.cli.streaming_screen import Closing, progress_line, show_closing
from tickhandler_dagster.cli.streaming_worker import Worker, stopped_by_signals
from tickhandler_dagster.market.days import US_PER_SECOND
from tickhandler_dagster.market.errors import ConcurrentWrite
from tickhandler_dagster.pipeline.live_universe import memory_reader
from tickhandler_dagster.resources.lake_store import build_lake
from tickhandler_dagster.settings import load_settings
from tickhandler_dagster.streaming.completion import Completion
from tickhandler_dagster.streaming.engine import CandleEngine, EngineOptions
from tickhandler_dagster.streaming.feeds import Feed
from tickhandler_dagster.streaming.ports import BarSink, StatusSink
from tickhandler_dagster.streaming.sinks.chosen import ChosenTimeframes
from tickhandler_dagster.streaming.sinks.tick_sink import TickStream
from tickhandler_dagster.streaming.sinks.tick_sinks import TickSinks
from tickhandler_dagster.streaming.tick_status import TickStatus
from tickhandler_dagster.streaming.venue import VenueOptions

LOCK = "session.lock"
CHECKPOINTS = "checkpoints"
_BARS = "bars"
_TICK_S = 0.25
_SWEEP_S = 300.0
_QUIET_STEPS = 3  # that find nothing new: a second may be less than one on a busy machine
_POLL_US, _FAST_POLL_US = 250_000, 5_000
"""A round makes what is due at one moment: played fast, a pause after each would set the pace."""
_SKIP_US = 48 * US_PER_SECOND
"""What a complete bar waits for at most: half a minute, a bar's length, the grace."""


def run_candles(request: StreamingRequest) -> int:
    """Publish live bars until ended; the exit code.

    Raises:
        TickhandlerError: the session cannot begin, or something ended it.
    """
    with _opened(request) as session, contextlib.ExitStack() as parts:
        reports = parts.enter_context(
            open_reports(session.settings, request, has_ticks=request.keeps_ticks, has_bars=True)
        )
        sinks, listeners = _bar_outputs(session, parts)
        ticks = _tick_sinks(session) if request.keeps_ticks else None
        completion = Completion(session.root)
        parts.callback(completion.close)
        session.makes_bars = True
        engine = CandleEngine(
            session.chosen.instruments,
            SpoolReader(session.root, dead_letters=session.box(_BARS)),
            sinks,
            session.clock,
            _engine_options(session),
            memory=memory_reader(session.lake),
            completer=completion,
            reports=[session, *listeners, *reports.sinks],
        )
        session.is_busy = lambda: engine.is_behind or completion.pending > 0
        feed = _feed(session)
        session.trouble = lambda: engine.trouble
        cursors = SpoolCursors(session.root)
        session.hold = lambda: cursors.save(_BARS, engine.places)
        anew = f"Remove {session.root / CHECKPOINTS}: bars then begin with this session"
        require_kept(session.root, engine.places, remedy=anew)
        work = Worker(engine.run)
        failure = _run(session, feed, work, ticks)
        if failure is None and not engine.trouble:
            cursors.remove(_BARS)  # nobody may ever come back for what it held
        return _end(session, ticks, reports, failure)


def run_ticks(request: StreamingRequest) -> int:
    """Store live ticks until ended; the exit code.

    Raises:
        TickhandlerError: the session cannot begin, or something ended it.
    """
    with _opened(request) as session, contextlib.ExitStack() as parts:
        reports = parts.enter_context(
            open_reports(session.settings, request, has_ticks=True, has_bars=False)
        )
        ticks = _tick_sinks(session)
        told = TickStatus(SpoolReader(session.root), session.chosen.venues, session.clock)

        def watch(stop: threading.Event) -> None:
            listeners: list[StatusSink] = [session, *reports.sinks]
            while True:
                status = told.status(ticks.statuses)
                for listener in listeners:
                    listener.report(status)
                if stop.wait(1.0):
                    session.report(told.status(ticks.statuses))
                    return

        feed = _feed(session)
        session.told = lambda: told.status(ticks.statuses)
        failure = _run(session, feed, Worker(watch), ticks)
        return _end(session, ticks, reports, failure)


@contextlib.contextmanager
def _opened(request: StreamingRequest) -> Iterator[Session]:
    """The session's folder, held against a second one, and the signals that end it."""
    settings = load_settings(request.env_file, request.config_file)
    chosen = choose(request, settings)
    with contextlib.ExitStack() as stack:
        root = request.spool or (
            settings.streaming_spool_folder
            if request.replay is None
            else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tickhandler-")))
        )
        stack.enter_context(_alone(root))
        stop = threading.Event()
        stack.enter_context(stopped_by_signals(stop))
        yield Session(
            request=request,
            settings=settings,
            lake=build_lake(settings),
            chosen=chosen,
            root=root,
            screen=Console(stderr=True),
            stop=stop,
        )


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(
                exclusive_lock(root / LOCK, setting="STREAMING_SPOOL_FOLDER", timeout_s=0)
            )
        except ConcurrentWrite:
            raise ConcurrentWrite(
                f"spool {root}",
                "another live session uses it",
                remedy="End that one, or give this one a folder of its own with --spool",
            ) from None
        yield


def _engine_options(session: Session) -> EngineOptions:
    is_live = session.request.replay is None
    return EngineOptions(
        checkpoints=session.root / CHECKPOINTS,
        poll_us=_POLL_US if is_live or session.request.speed == 1 else _FAST_POLL_US,
        venue=VenueOptions(
            grace_us=session.settings.streaming_grace_ms * 1_000,
            timeframes=session.request.timeframes,
            # A spool that other sessions filled begins days ago: bars begin with this session.
            begin_us=session.clock.now_us() if is_live else None,
        ),
    )


def _bar_outputs(
    session: Session, parts: contextlib.ExitStack
) -> tuple[list[BarSink], list[StatusSink]]:
    """Where bars go, and who besides Dagster hears of the engine."""
    request, settings = session.request, session.settings
    target = bar_sink(request, settings, session.lake)
    close = getattr(target, "close", None)
    if close is not None:
        parts.callback(close)
    sinks: list[BarSink] = [ChosenTimeframes(target, request.timeframes)]
    if not request.serve:
        return sinks, []
    from tickhandler_dagster.streaming.serving.broadcast import (  # noqa: PLC0415  (slow import)
        Broadcast,
    )
    from tickhandler_dagster.streaming.serving.server import serve  # noqa: PLC0415  (slow import)
    from tickhandler_dagster.streaming.serving.status_board import (  # noqa: PLC0415  (slow import)
        StatusBoard,
    )

    broadcast, board = Broadcast(), StatusBoard()
    token = settings.streaming_token
    server = parts.enter_context(
        serve(
            broadcast,
            board,
            settings.streaming_host,
            settings.streaming_port if request.port is None else request.port,
            token=None if token is None else token.get_secret_value(),
        )
    )
    session.screen.print(f"Live page: {server.url}", highlight=False)
    return [*sinks, ChosenTimeframes(broadcast, request.timeframes)], [board]


def _feed(session: Session) -> Feed:
    return build_feed(
        session.request,
        session.settings,
        session.chosen,
        session.root,
        dead_letters=session.box("replay"),
    )


def _tick_sinks(session: Session) -> TickSinks:
    chosen, request = session.chosen, session.request
    return TickSinks(
        session.root,
        [
            TickStream(venue, data_type)
            for venue in chosen.venues
            for data_type in kept_types(request.data_types, chosen, venue)
        ],
        name=f"ticks-{request.to}",
        make_target=tick_target(request, session.settings, session.lake),
        keys=chosen.keys,
        clock=session.clock,
    )


def _run(
    session: Session, feed: Feed, work: Worker, ticks: TickSinks | None
) -> BaseException | None:
    """Until something ends it; what that was, where nobody asked for it."""
    feed.start()
    try:
        work.start()
        if ticks is not None:
            ticks.start()
        _watch(session, feed, work, ticks)
    finally:
        session.is_played_out = session.request.replay is not None and not feed.is_alive
        feed.stop()
        if session.is_played_out and session.makes_bars:
            _finish_replay(session, work)
        work.stop()
    return feed.failure or work.failure


def _watch(session: Session, feed: Feed, work: Worker, ticks: TickSinks | None) -> None:
    swept = shown = time.monotonic()
    told: set[str] = set()
    with _progress(session) as line:
        while not session.stop.wait(_TICK_S) and feed.is_alive and work.is_alive:
            now = time.monotonic()
            for text in _troubles(session, feed, ticks) - told:
                session.screen.print(text, highlight=False, markup=False)
                told.add(text)
            if session.is_over:
                return
            if session.last is not None and now - shown >= 1.0:
                line.update(progress_line(session.last))
                shown = now
            if now - swept >= _SWEEP_S and session.request.replay is None:
                keep = round(session.settings.streaming_spool_hours * 3_600 * US_PER_SECOND)
                session.hold()
                sweep(session.root, now_us=session.clock.now_us(), keep_us=keep)
                swept = now


def _troubles(session: Session, feed: Feed, ticks: TickSinks | None) -> set[str]:
    """What is in the way now, though the session goes on."""
    found = {session.trouble(), "" if feed.failure is None else str(feed.failure)}
    if ticks is not None:
        found |= {one.failure or one.trouble for one in ticks.statuses.values()}
    return found - {""}


def _finish_replay(session: Session, work: Worker) -> None:
    """Let the engine read to the end, then let the time pass that its last bars wait for.

    Told to end, or out of time, it stops where it is: bars that are not due are not made.
    """
    _until_quiet(session, work)
    if not session.is_over:
        session.clock.skip(_SKIP_US)
        _until_quiet(session, work)


def _until_quiet(session: Session, work: Worker) -> None:
    """Until steps of the engine bring neither rows nor bars, and nobody builds any for it."""
    before, since = None, session.steps
    while work.is_alive and not session.is_over:
        status = session.last
        now = status and ([dict(feed.rows) for feed in status.feeds], dict(status.bars))
        if now != before or session.is_busy():
            before, since = now, session.steps
        elif session.steps > since + _QUIET_STEPS:
            return
        time.sleep(_TICK_S / 5)


@contextlib.contextmanager
def _progress(session: Session) -> Iterator[Status]:
    text = f"Waiting for rows of {len(session.chosen.instruments):,} instruments"
    with session.screen.status(text) as line:
        yield line


def _end(
    session: Session, ticks: TickSinks | None, reports: Reports, failure: BaseException | None
) -> int:
    """Everything durable, everything told."""
    is_whole = ticks is None or ticks.stop()
    stored = {} if ticks is None else ticks.statuses
    reports.close(failure is None)
    counts = [box.count for box in session.boxes]
    closing = Closing(
        status=session.last if session.told is None else session.told(),
        seconds=time.monotonic() - session.began,
        stored={f"{stream.venue} {stream.data_type}": one.rows for stream, one in stored.items()},
        dead=sum(one.dead for one in stored.values()),
        # bars and ticks are made of the same lines
        unreadable=max([0 if ticks is None else ticks.dead_lines, *counts]),
        reports=reports.counts,
        failure="" if failure is None else str(failure),
    )
    if session.request.to is not Target.NDJSON or session.request.as_json:
        show_closing(session.screen, closing, as_json=session.request.as_json)
    if failure is not None:
        raise failure
    left = [
        f"{stream.venue} {stream.data_type}: {reason}"
        for stream, one in stored.items()
        if (reason := one.failure or one.trouble)
    ]
    if not is_whole:
        left.append("Not all ticks are delivered; the next session on this spool goes on there.")
    if session.trouble():
        left += [f"bars: {session.trouble()}", "Not all bars are stored; the same holds for them."]
    for text in left:
        session.screen.print(text, highlight=False, markup=False)
    return EXIT_FAILED_RUN if left else 0
