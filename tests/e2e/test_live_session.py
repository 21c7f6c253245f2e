"""A live session over recorded feeds: its bars are the batch's, and Dagster says so."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from tickhandler_dagster.adapters.file_lock import exclusive_lock
from tickhandler_dagster.adapters.lake import Lake
from tickhandler_dagster.assets.live_tables import FEED
from tickhandler_dagster.cli.exit_codes import EXIT_FAILED_RUN
from tickhandler_dagster.cli.streaming_request import StreamingRequest, Target
from tickhandler_dagster.cli.streaming_session import LOCK, run_candles, run_ticks
from tickhandler_dagster.market.data_types import DataType
from tickhandler_dagster.market.days import VenueDay
from tickhandler_dagster.market.errors import (
    ConcurrentWrite,
    InvalidInput,
    MissingUpstream,
    StorageFull,
)
from tickhandler_dagster.market.timeframes import Timeframe
from tickhandler_dagster.market.venues import VenueId
from tickhandler_dagster.pipeline.live_candles import read_live_candles
from tickhandler_dagster.sandbox.folder_source import FolderSource
from tickhandler_dagster.settings import load_settings

CELL = VenueDay.parse("2024-08-08|binance-futures")
BTC = "BINANCE-FUTURES:PERPETUAL:BTC-USDT"
TYPES = (DataType.TRADES, DataType.BOOK_SNAPSHOT_5)
CANDLES = tuple(f"candles/{timeframe}" for timeframe in Timeframe)


@pytest.fixture(scope="module")
def platform(open_platform, tmp_path_factory, recorded):
    """The recorded futures as the batch has them."""
    root = tmp_path_factory.mktemp("live")
    with open_platform(root, FolderSource(recorded), [CELL.venue.value]) as (platform, _):
        platform.prepare(CELL.venue.value, str(CELL))
        types = [f"raw_ticks/{data_type}" for data_type in TYPES]
        result = platform.run(*types, *CANDLES, partition=str(CELL))
        assert result.success, platform.failures(result)
        platform.root = root
        yield platform


@pytest.fixture
def request_of(platform, tmp_path):
    """Requests over the platform's lake: `request_of(symbols=..., ...)`."""
    settings = {
        "LAKE_ROOT": str(platform.settings.lake_root),
        "STREAMING_SPOOL_FOLDER": str(tmp_path / "spool"),
        "DAGSTER_HOME": str(_home(tmp_path)),
    }
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(settings))

    def make(**changes):
        values = {
            "symbols": ("BTC-USDT",),
            "venues": (CELL.venue,),
            "data_types": TYPES,
            "replay": Path(platform.settings.lake_root),
            "speed": None,
            "config_file": file,
            "as_json": True,
        }
        return StreamingRequest(**values | changes)

    yield make
    for folder in ("live_candles", "live_ticks", "live_differences"):
        shutil.rmtree(Path(platform.settings.lake_root, folder), ignore_errors=True)


def _home(folder):
    home = folder / "dagster_home"
    home.mkdir(exist_ok=True)
    return home


def closing(capsys):
    return json.loads(capsys.readouterr().out)


def test_replayed_bars_are_the_batchs_bars_and_the_parity_report_says_so(
    platform, request_of, capsys
):
    assert run_candles(request_of(symbols=("*-USDT",))) == 0
    told = closing(capsys)
    assert told["bars"]["15s"] > 0
    assert told["failure"] == ""
    result = platform.run("live_parity", partition=str(CELL))
    assert result.success, platform.failures(result)
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    causes = metadata["bars that differ by cause"].value
    by_timeframe = metadata["match rate by timeframe"].value
    rates = {
        cells[1]: (float(cells[2]), int(cells[3].replace(",", "")))
        for line in by_timeframe.splitlines()[2:]
        if (cells := [cell.strip() for cell in line.split("|")])
    }
    assert set(rates) == {str(one) for one in Timeframe}, by_timeframe
    # Its ends cut the first and last bars off, as a lost connection would; all others are equal.
    assert rates["15s"] >= (40 / 46 - 1e-6, 46), metadata["sample of differences"].value
    assert "| unexplained | 0 |" in causes, metadata["sample of differences"].value
    (check,) = result.get_asset_check_evaluations()
    assert check.severity is dg.AssetCheckSeverity.WARN


def test_ticks_are_stored_once_and_are_the_evidence_of_the_parity_report(
    platform, request_of, capsys, tmp_path
):
    spool = tmp_path / "kept"
    assert run_candles(request_of(keeps_ticks=True, spool=spool)) == 0
    told = closing(capsys)
    trades = told["ticks_stored"]["binance-futures trades"]
    assert trades == told["feeds"][0]["rows"]["trades"] > 10_000
    files = sorted(Path(platform.settings.lake_root, "live_ticks").rglob("*.parquet"))
    stored = pl.concat([pl.read_parquet(one) for one in files if "data_type-trades" in str(one)])
    assert stored["sequence"].n_unique() == stored.height == trades
    assert set(stored["instrument_key"]) == {BTC}
    result = platform.run("live_parity", partition=str(CELL))
    (event,) = result.get_asset_materialization_events()
    assert event.materialization.metadata["instruments with live ticks as evidence"].value == 1
    assert run_ticks(request_of(spool=spool)) == 0
    assert closing(capsys)["ticks_stored"]["binance-futures trades"] == 0


def test_chosen_timeframes_alone_are_published(platform, request_of, capsys):
    assert run_candles(request_of(timeframes=(Timeframe.H24,))) == 0
    closing(capsys)
    lake = platform.lake
    assert read_live_candles(lake, CELL.date, Timeframe.S15, CELL.venue).is_empty()


def test_lines_of_json_go_down_a_pipe(platform, request_of, capsys):
    request = request_of(to=Target.NDJSON, as_json=False, timeframes=(Timeframe.S15,))
    assert run_candles(request) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["timeframe"] for line in lines} == {"15s"}
    assert {line["stage"] for line in lines} == {"provisional", "complete"}
    assert run_ticks(request_of(to=Target.NDJSON, as_json=False)) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["data_type"] for line in lines} == {"trades", "book_snapshot_5"}


@pytest.mark.parametrize("refused", ["live_ticks", "live_candles"])
def test_what_a_full_lake_did_not_take_is_said_and_taken_by_the_next_session(
    request_of, capsys, tmp_path, monkeypatch, refused
):
    write_table = Lake.write_table

    def full(lake, item, *arguments, **options):
        if str(item.path).startswith(refused):
            raise StorageFull("the lake", "no space left on device", remedy="Free space")
        return write_table(lake, item, *arguments, **options)

    request = request_of(keeps_ticks=True, spool=tmp_path / "kept", timeframes=(Timeframe.S15,))
    with monkeypatch.context() as patch:
        patch.setattr(Lake, "write_table", full)
        if refused == "live_ticks":
            assert run_candles(request) == EXIT_FAILED_RUN
        else:
            with pytest.raises(StorageFull):
                run_candles(request)
    said = " ".join(capsys.readouterr().err.split())
    assert "no space left on device" in said
    assert ("Not all ticks" if refused == "live_ticks" else "Not all bars") in said
    stored = Path(load_settings(None, request.config_file).lake_root, refused)
    assert not list(stored.rglob("*.parquet"))
    assert run_candles(request) == 0
    assert list(stored.rglob("*.parquet"))


def test_garbage_in_a_recording_is_counted_and_kept_apart(request_of, capsys, tmp_path):
    recording = tmp_path / "recording"
    assert run_ticks(request_of(spool=recording)) == 0
    rows = closing(capsys)["feeds"][0]["rows"]["trades"]
    (segment, *_) = sorted(recording.glob("binance-futures/trades/*.csv"))
    content = bytearray(segment.read_bytes())
    middle = content.index(b"\n", len(content) // 2) + 1
    content[middle : middle + 3] = b"\x00\xff\n"
    segment.write_bytes(content)
    spool = tmp_path / "played"
    assert run_candles(request_of(replay=recording, spool=spool, keeps_ticks=True)) == 0
    told = closing(capsys)
    assert told["unreadable_lines"] == 2
    assert told["feeds"][0]["rows"]["trades"] == rows - 1
    assert list(spool.glob("binance-futures/dead_letters/*-replay.jsonl"))


def test_a_second_session_on_the_same_spool_is_refused_in_a_sentence(request_of, tmp_path):
    spool = tmp_path / "taken"
    with exclusive_lock(spool / LOCK), pytest.raises(ConcurrentWrite, match="--spool"):
        run_candles(request_of(spool=spool))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"symbols": ("NO-SUCH",)}, InvalidInput, "no instrument of the newest universe"),
        ({"venues": (VenueId.UPBIT,)}, MissingUpstream, "no universe of these venues"),
        ({"data_types": (DataType.LIQUIDATIONS,)}, InvalidInput, "has trades"),
        ({"replay": Path("nowhere")}, InvalidInput, "no such folder"),
    ],
)
def test_what_cannot_be_streamed_is_said_before_anything_starts(
    platform, request_of, changes, error, words
):
    with pytest.raises(error, match=words):
        run_candles(request_of(**changes))


def test_a_replay_as_if_now_reports_to_dagster_and_tells_its_end(
    platform, request_of, recorded, tmp_path, capsys
):
    request = request_of(
        replay=recorded, speed=1.0, to_now=True, duration_s=6.0, serve=True, port=0
    )
    assert run_candles(request) == 0
    told = closing(capsys)
    sent, lost = told["reports"]
    assert (sent >= 2, lost) == (True, 0)
    with dg.DagsterInstance.from_config(str(tmp_path / "dagster_home")) as instance:
        record = instance.fetch_materializations(FEED, limit=1).records[0]
        assert record.asset_materialization.metadata["session"].value == "ended"


def test_a_signal_ends_a_session_in_order(platform, request_of, recorded, tmp_path):
    file = tmp_path / "settings.yaml"
    command = [
        *(sys.executable, "-m", "tickhandler_dagster", "streaming-candles"),
        *("--symbol", "BTC-USDT", "--venues", "binance-futures", "--json", "--no-dagster"),
        *("--data-types", "trades,book_snapshot_5", "--replay", str(recorded)),
        *("--config-file", str(file)),
    ]
    environment = {name: text for name, text in os.environ.items() if "COV" not in name}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as session:
        time.sleep(12)
        session.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            out, errors = session.communicate(timeout=60)
        session.kill()
    assert session.returncode == 0, errors
    assert json.loads(out)["failure"] == ""
