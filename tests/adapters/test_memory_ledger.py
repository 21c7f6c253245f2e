"""Memory reserved across real processes: never more than there is, nothing kept by the dead."""

import asyncio
import os
import subprocess
import sys
import threading
import time

import pytest

from tickhandler_dagster.adapters.machine_memory import MemoryUse, machine_memory
from tickhandler_dagster.adapters.memory_ledger import MemoryLedger
from tickhandler_dagster.market.errors import InvalidSetting, TransientError
from tickhandler_dagster.pipeline.admission import MemoryGate

MEGA = 1_000_000
ROOM = MemoryUse(400 * MEGA, 100 * MEGA)

WORKER = """
import asyncio, sys, time
from pathlib import Path
from tickhandler_dagster.adapters.memory_ledger import MemoryLedger, MemoryUse
from tickhandler_dagster.pipeline.admission import MemoryGate

async def main(folder, need):
    # A pretended machine whose memory in use stands still: reservations alone decide.
    use = MemoryUse(400_000_000, 100_000_000)
    ledger = MemoryLedger(90, folder=Path(folder), memory=lambda: use)
    gate = MemoryGate(ledger, pause_s=0.01)
    for _ in range(3):
        async with gate.admitted(need):
            print("in", ledger.reserved_bytes, flush=True)
            await asyncio.sleep(0.05)
    print("waited", gate.waited_s, flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

HOLDER = """
import sys, time
from pathlib import Path
from tickhandler_dagster.adapters.memory_ledger import MemoryLedger, MemoryUse
ledger = MemoryLedger(90, folder=Path(sys.argv[1]), memory=lambda: MemoryUse(400_000_000, 0))
print(ledger.reserve(300_000_000), flush=True)
time.sleep(60)
"""


@pytest.fixture
def ledger(tmp_path):
    return MemoryLedger(90, folder=tmp_path, memory=lambda: ROOM)


def _start(code, *words, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def test_processes_together_never_reserve_more_than_the_share(tmp_path):
    workers = [_start(WORKER, tmp_path, 120 * MEGA) for _ in range(4)]
    told = [worker.communicate(timeout=60)[0].splitlines() for worker in workers]
    seen = [int(line.split()[1]) for lines in told for line in lines if line.startswith("in")]
    assert len(seen) == 12
    assert max(seen) <= 260 * MEGA
    assert any(float(lines[-1].split()[1]) > 0 for lines in told), "nobody had to wait"


def test_a_reservation_ends_with_its_process(tmp_path):
    with _start(HOLDER, tmp_path) as holder:
        assert len(holder.stdout.readline().strip()) == 32
        ledger = MemoryLedger(90, folder=tmp_path, memory=lambda: MemoryUse(400 * MEGA, 0))
        assert ledger.reserve(100 * MEGA) is None
        holder.kill()
        holder.wait(10)
        assert ledger.reserve(100 * MEGA) is not None


def test_what_was_taken_already_is_not_counted_twice(tmp_path):
    in_use = [100 * MEGA]
    ledger = MemoryLedger(90, folder=tmp_path, memory=lambda: MemoryUse(1000 * MEGA, in_use[0]))
    assert ledger.reserve(500 * MEGA) is not None
    assert ledger.reserve(400 * MEGA) is None
    taken = bytearray(400 * MEGA)
    taken[::4096] = b"x" * len(taken[::4096])  # touched, so that it is resident
    in_use[0] += 400 * MEGA
    assert ledger.reserve(250 * MEGA) is not None
    assert len(taken) == 400 * MEGA


def test_what_a_process_keeps_of_finished_work_serves_its_next(tmp_path):
    in_use = [100 * MEGA]
    ledger = MemoryLedger(90, folder=tmp_path, memory=lambda: MemoryUse(1000 * MEGA, in_use[0]))
    ledger.release(ledger.reserve(500 * MEGA))
    kept = bytearray(300 * MEGA)
    kept[::4096] = b"x" * len(kept[::4096])
    in_use[0] += 300 * MEGA
    name = ledger.reserve(700 * MEGA)
    assert name, "400 MB in use, of which the process has 300 of the 700"
    assert ledger.reserve(200 * MEGA) is None
    assert len(kept) == 300 * MEGA


def test_whoever_is_alone_may_use_all_there_is_and_no_more(tmp_path):
    ledger = MemoryLedger(50, folder=tmp_path, memory=lambda: ROOM)
    assert ledger.reserve(301 * MEGA) is None
    name = ledger.reserve(300 * MEGA)
    assert name is not None
    ledger.release(name)
    assert ledger.reserved_bytes == 0


def test_waiting_ends_with_an_error_that_another_try_heals(ledger):
    assert ledger.reserve(250 * MEGA)

    async def wait():
        async with MemoryGate(ledger, pause_s=0.01, longest_s=0.05).admitted(250 * MEGA):
            raise AssertionError

    began = time.monotonic()
    with pytest.raises(TransientError, match="250 MB needed"):
        asyncio.run(wait())
    assert time.monotonic() - began < 5


def test_a_file_that_was_cut_off_holds_nobody(tmp_path, ledger):
    (tmp_path / "reservations.json").write_text('{"a": {"pid"')
    assert ledger.reserve(MEGA) is not None


def _written(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def _group(folder, limit, used, cache=0, *, version=2):
    """The files of a group as the kernel has them."""
    names = {
        2: ("memory.max", "memory.current", "inactive_file"),
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    }[version]
    return {
        f"{folder}/{names[0]}": f"{limit}\n",
        f"{folder}/{names[1]}": f"{used}\n",
        f"{folder}/memory.stat": f"anon 1\n{names[2]} {cache}\n",
    }


SERVICE = "0::/system.slice/runs.service"
LIMITED = MemoryUse(500 * MEGA, 200 * MEGA)


@pytest.mark.parametrize(
    ("files", "own"),
    [
        (_group(".", 500 * MEGA, 300 * MEGA, 100 * MEGA), "0::/"),
        (_group("memory", 500 * MEGA, 300 * MEGA, 100 * MEGA, version=1), "4:memory:/"),
        (_group("system.slice/runs.service", 500 * MEGA, 200 * MEGA), SERVICE),
        (
            {
                **_group("system.slice/runs.service", "max", 100 * MEGA),
                **_group("system.slice", 500 * MEGA, 200 * MEGA),
                **_group(".", 900 * MEGA, 210 * MEGA),
            },
            SERVICE,
        ),
        (
            _group("memory/docker/a", 500 * MEGA, 200 * MEGA, version=1),
            "9:cpu:/other\n4:rdma,memory:/docker/a\n0::/",
        ),
        # A container that sees its own tree alone, and still the host's name of its group.
        (_group(".", 500 * MEGA, 200 * MEGA), "0::/kubepods/pod1/c2"),
        (_group(".", 500 * MEGA, 200 * MEGA), "0::/../outside"),
    ],
    ids=["root", "root 1", "nested", "slice above", "nested 1", "hidden tree", "outside"],
)
def test_a_container_or_group_counts_with_the_limit_that_leaves_least(tmp_path, files, own):
    root = _written(tmp_path / "cgroup", files)
    (tmp_path / "own").write_text(f"{own}\n")
    assert machine_memory(root, tmp_path / "own") == LIMITED


def test_without_a_limit_the_machine_counts(tmp_path):
    root = _written(tmp_path, _group(".", "max", 1))
    for own in (tmp_path / "own", tmp_path / "no such file"):
        (tmp_path / "own").write_text("0::/\n")
        found = machine_memory(root, own)
        assert 0 < found.used_bytes < found.limit_bytes
        assert found.limit_bytes > 10**8


def test_the_threshold_is_a_share_of_the_containers_limit(tmp_path):
    root = _written(tmp_path / "cgroup", _group(".", 1_000 * MEGA, 100 * MEGA))
    (tmp_path / "own").write_text("0::/\n")

    def ledger(percent):
        return MemoryLedger(
            percent, folder=tmp_path, memory=lambda: machine_memory(root, tmp_path / "own")
        )

    assert ledger(50).reserve(200 * MEGA)
    assert ledger(50).reserve(250 * MEGA) is None
    assert ledger(60).reserve(250 * MEGA)


def test_what_can_never_fit_is_refused_at_once_with_a_sentence(ledger):
    gate = MemoryGate(ledger, pause_s=0.01)

    def hold():
        with gate.held(401 * MEGA):
            raise AssertionError

    with pytest.raises(InvalidSetting, match=r"was 400 MB; expected at least 401 MB"):
        hold()
    assert gate.waited_s == 0.0


def test_work_without_an_event_loop_waits_for_the_same_reservations(ledger):
    gate = MemoryGate(ledger, pause_s=0.01)
    name = ledger.reserve(200 * MEGA)
    threading.Timer(0.2, ledger.release, [name]).start()
    with gate.held(150 * MEGA):
        assert ledger.reserved_bytes == 150 * MEGA
    assert ledger.reserved_bytes == 0
    assert gate.waited_s >= 0.1


BOUNDED = """
import resource, sys, threading
from contextlib import nullcontext
from pathlib import Path
import psutil
from tickhandler_dagster.adapters.memory_ledger import MemoryLedger
from tickhandler_dagster.pipeline.admission import MemoryGate

NEED = 200_000_000
gate = MemoryGate(MemoryLedger(100, folder=Path(sys.argv[1])), pause_s=0.01)
limit = psutil.Process().memory_info().vms + 2 * NEED + NEED // 2
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
together = threading.Barrier(4)

def work():
    together.wait()
    with gate.held(NEED) if sys.argv[2] == "guarded" else nullcontext():
        taken = bytearray(NEED)
        threading.Event().wait(0.3)
        print("done", len(taken), flush=True)

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("waited", gate.waited_s, flush=True)
"""


def test_under_a_real_limit_of_the_process_work_waits_where_it_would_die(tmp_path):
    told = {}
    for way in ("guarded", "unguarded"):
        # One arena: what the C library sets aside for each thread is address space too.
        environment = {**os.environ, "MALLOC_ARENA_MAX": "1"}
        child = _start(BOUNDED, tmp_path, way, stderr=subprocess.PIPE, env=environment)
        told[way] = child.communicate(timeout=60)
    assert "MemoryError" in told["unguarded"][1]
    out, error = told["guarded"]
    assert error == ""
    assert out.count("done 200000000") == 4
    assert float(out.split()[-1]) > 0.2
