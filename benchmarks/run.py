"""`make bench`: everything measured in one run and printed as one table.

What belongs here: the command line and the order of things. README.md says how to read the table.
The exit code is 0 whatever the numbers are, and 1 where contenders computed different things.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import client
import data
import features
import memory
import mft
from agreement import disagreements
from contenders import CONTENDERS, OURS, Contender, Task
from environments import Interpreter, interpreter
from report import print_rows
from rich.console import Console
from rounds import Row, interleaved, run
from targets import verdicts
from timeframes import SECONDS

from tickhandler_dagster.market.timeframes import Timeframe

_ROOT = Path(__file__).resolve().parents[1]
_MEGA = 1e6
_DEFAULT_ROWS = {False: 3_000_000, True: features.DEFAULT_TRADES}
_DEFAULT_DAYS = {False: mft.DEFAULT_DAYS, True: 2_190}
_BACKFILL_DAYS = 366
_DEFAULT_INSTRUMENTS = {False: mft.DEFAULT_INSTRUMENTS, True: 200}


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU-seconds and memory beside limit and peers.")
    parser.add_argument("--rows", type=int, help="trades in the measured file (3M; 10M)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are shown")
    parser.add_argument("--features", action="store_true", help="bars with all features instead")
    parser.add_argument("--mft", action="store_true", help="mid-frequency features instead")
    parser.add_argument("--client", action="store_true", help="the reader library instead")
    parser.add_argument("--scale", action="store_true", help="an instance of six years instead")
    parser.add_argument("--soak", action="store_true", help="the live path under load instead")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long, for --soak")
    parser.add_argument("--rate", type=int, default=20_000, help="messages a second, for --soak")
    parser.add_argument("--backfill", action="store_true", help="a year by real runs instead")
    parser.add_argument("--streams", type=int, default=30, help="streams, for --backfill")
    parser.add_argument(
        "--days", type=int, help="days: --mft (60), --scale (2,190), --backfill (366)"
    )
    parser.add_argument(
        "--instruments", type=int, help="instruments, for --mft (50) and --soak (200)"
    )
    parser.add_argument("--memory", action="store_true", help="growth of our peak memory instead")
    parser.add_argument("--folder", type=Path, default=_ROOT / ".bench", help="for all files")
    parser.add_argument(
        "--recorded",
        type=Path,
        default=_ROOT.parent / "shared" / "data" / "recorded",
        help="recorded data sets to draw trades from; simulated where there are none",
    )
    arguments = parser.parse_args(argv)
    arguments.rows = arguments.rows or _DEFAULT_ROWS[arguments.features]
    usual = _BACKFILL_DAYS if arguments.backfill else _DEFAULT_DAYS[arguments.scale]
    arguments.days = arguments.days or usual
    arguments.instruments = arguments.instruments or _DEFAULT_INSTRUMENTS[arguments.soak]
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run what the arguments ask for."""
    arguments = _arguments(argv)
    if {frame.value: frame.us // 1_000_000 for frame in Timeframe} != SECONDS:
        sys.exit("benchmarks/timeframes.py: other timeframes than the project's. Make them equal.")
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    part = next((name for name in _PARTS if getattr(arguments, name)), None)
    return _PARTS[part](arguments, console) if part else _comparison(arguments, console)


def _memory(arguments: argparse.Namespace, console: Console) -> int:
    cases = memory.measure(
        arguments.rows,
        folder=arguments.folder,
        recorded=arguments.recorded,
        python=Path(sys.executable),
        note=_note,
        of_features=arguments.features,
    )
    memory.print_memory(console, list(cases))
    return 0


def _features(arguments: argparse.Namespace, console: Console) -> int:
    work = arguments.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    interpreters = _interpreters(arguments.folder, Task.FEATURES)
    _note(f"data: {arguments.rows:,} trades, book and ticker")
    day = features.prepared(arguments.rows, arguments.folder, arguments.recorded, work)
    rows = features.compared(day, interpreters, arguments.repeat, _note)
    print_rows(console, rows, title=f"{day.title}, median of {arguments.repeat}")
    console.print("Goals", *features.verdicts(rows, day), sep="\n")
    different = disagreements(rows, Task.FEATURES)
    _print_agreement(console, different, "the columns both have, in 1m bars, to 1e-9")
    shutil.rmtree(work)
    return 1 if different else 0


def _backfill(arguments: argparse.Namespace, console: Console) -> int:
    import backfill  # noqa: PLC0415  (Dagster again)

    title, passes = backfill.measure(arguments.folder, arguments.days, arguments.streams, _note)
    backfill.print_backfill(console, title, passes)
    return 1 if any(one.failed for one in passes) else 0


def _scale(arguments: argparse.Namespace, console: Console) -> int:
    # Dagster is loaded here alone: three seconds that the others do not wait for.
    import instance_scale  # noqa: PLC0415  (see above)

    scale = instance_scale.measure(arguments.folder, arguments.days, _note)
    instance_scale.print_scale(console, scale)
    shutil.rmtree(scale.folder)
    return 0


def _client(arguments: argparse.Namespace, console: Console) -> int:
    found = client.measure(
        client.DEFAULT_ROWS,
        client.DEFAULT_DAYS,
        client.DEFAULT_INSTRUMENTS,
        folder=arguments.folder,
        repeat=arguments.repeat,
        note=_note,
    )
    client.print_client(console, found)
    return 0


def _soak(arguments: argparse.Namespace, console: Console) -> int:
    import soak  # noqa: PLC0415  (a web server and its client: for this part alone)
    import soak_report  # noqa: PLC0415

    seen = soak.measure(
        arguments.folder,
        minutes=arguments.minutes,
        rate=arguments.rate,
        instruments=arguments.instruments,
        note=_note,
    )
    soak_report.print_soak(console, seen)
    return 0


def _mft(arguments: argparse.Namespace, console: Console) -> int:
    work = arguments.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    interpreters = _interpreters(arguments.folder, Task.MFT)
    _note(f"data: {arguments.days} days of {arguments.instruments} instruments")
    span = mft.prepared(arguments.days, arguments.instruments, arguments.folder, work)
    rows = mft.compared(span, interpreters, arguments.repeat, _note)
    print_rows(console, rows, title=f"{span.title}, median of {arguments.repeat}")
    console.print("By value", *mft.sentences(rows, span), sep="\n")
    different = disagreements(rows, Task.MFT)
    _print_agreement(console, different, "the columns both have, on the last day, to 1e-6")
    shutil.rmtree(work)
    return 1 if different else 0


def _comparison(arguments: argparse.Namespace, console: Console) -> int:
    work = arguments.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    interpreters = _interpreters(arguments.folder, Task.INGEST, Task.CANDLES)
    _note(f"data: {arguments.rows:,} trades")
    dataset = data.trades(arguments.rows, arguments.folder / "data", arguments.recorded)
    ingest = dataset.job(work)
    lake = dataset.job(work / "lake")
    ticks = run(OURS, Task.INGEST, lake, Path(sys.executable)).result
    jobs = {Task.INGEST: ingest, Task.CANDLES: lake.after_ingest(str(ticks), work)}
    rows = [Row(one, task) for task in jobs for one in CONTENDERS if task in one.tasks]
    for task, job in jobs.items():
        interleaved(
            [row for row in rows if row.task is task],
            interpreters=interpreters,
            job=job,
            repeat=arguments.repeat,
            note=_note,
        )
    differences = [sentence for task in jobs for sentence in disagreements(rows, task)]
    _print(console, rows, dataset, arguments, differences)
    shutil.rmtree(work)
    return 1 if differences else 0


def _interpreters(folder: Path, *tasks: Task) -> dict[Contender, Interpreter]:
    """The Python of everyone who takes part in the tasks."""
    taking_part = [one for one in CONTENDERS if one.tasks & set(tasks)]
    environments = sorted({one.environment for one in taking_part})
    made = {one: interpreter(one, folder / "environments") for one in environments}
    return {contender: made[contender.environment] for contender in taking_part}


def _print_agreement(console: Console, differences: Sequence[str], what: str) -> None:
    if differences:
        console.print("\nResults differ, so the ratios mean nothing:", *differences, sep="\n  ")
    else:
        console.print(f"\nResults agree: {what}.")


def _print(
    console: Console,
    rows: Sequence[Row],
    dataset: data.Dataset,
    arguments: argparse.Namespace,
    differences: Sequence[str],
) -> None:
    size = dataset.path.stat().st_size / _MEGA
    title = (
        f"{arguments.rows:,} {dataset.origin} trades, {size:.1f} MB of csv.gz, "
        f"median of {arguments.repeat}; every run in a new process"
    )
    print_rows(console, rows, title=title)
    console.print("Targets (CPU-seconds)", *verdicts(rows), sep="\n")
    _print_agreement(console, differences, "rows, sum of amounts, and the 1m bars' values to 1e-9")


def _note(text: str) -> None:
    """Progress, away from the table."""
    print(text, file=sys.stderr, flush=True)


_PARTS = {
    "scale": _scale,
    "backfill": _backfill,
    "client": _client,
    "soak": _soak,
    "mft": _mft,
    "memory": _memory,
    "features": _features,
}
"""Parts by the option that asks for them; of several the first."""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
