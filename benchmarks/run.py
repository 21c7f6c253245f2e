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


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="CPU-seconds and memory beside limit and peers.")
    parser.add_argument("--rows", type=int, help="trades in the measured file (3M; 10M)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds; medians are shown")
    parser.add_argument("--features", action="store_true", help="bars with all features instead")
    parser.add_argument("--mft", action="store_true", help="mid-frequency features instead")
    parser.add_argument("--scale", action="store_true", help="an instance of six years instead")
    parser.add_argument("--days", type=int, help="days, for --mft (60) and --scale (2,190)")
    parser.add_argument(
        "--instruments", type=int, default=mft.DEFAULT_INSTRUMENTS, help="instruments, for --mft"
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
    arguments.days = arguments.days or _DEFAULT_DAYS[arguments.scale]
    return arguments


def main(argv: Sequence[str]) -> int:
    """Run what the arguments ask for."""
    arguments = _arguments(argv)
    if {frame.value: frame.us // 1_000_000 for frame in Timeframe} != SECONDS:
        sys.exit("benchmarks/timeframes.py: other timeframes than the project's. Make them equal.")
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    if arguments.scale:
        return _scale(arguments, console)
    if arguments.mft:
        return _mft(arguments, console)
    if arguments.memory:
        return _memory(arguments, console)
    if arguments.features:
        return _features(arguments, console)
    return _comparison(arguments, console)


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


def _scale(arguments: argparse.Namespace, console: Console) -> int:
    # Dagster is loaded here alone: three seconds that the others do not wait for.
    import instance_scale  # noqa: PLC0415  (see above)

    scale = instance_scale.measure(arguments.folder, arguments.days, _note)
    instance_scale.print_scale(console, scale)
    shutil.rmtree(scale.folder)
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
