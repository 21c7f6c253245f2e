"""Where contenders run: this project's virtual environment, or one of the peers' own.

What belongs here: making a peer's environment from its lock the first time it is wanted. Peers have
environments of their own because their pins exclude each other and are none of the project's
business. One that cannot be installed is a reason in the table, not an end of the run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from contenders import Environment

_LOCKS = Path(__file__).parent / "locks"
_STAMP = "lock.sha256"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python of an environment, or why there is none."""

    path: Path | None
    reason: str = ""


def interpreter(environment: Environment, folder: Path) -> Interpreter:
    """The environment's Python, made if it has to be.

    Args:
        environment: Which.
        folder: Where peers' environments are kept.
    """
    if environment is Environment.PROJECT:
        return Interpreter(Path(sys.executable))
    lock = _LOCKS / f"{environment}.lock"
    home = folder / environment
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp = home / _STAMP
    if not stamp.exists() or stamp.read_text() != digest:
        reason = _install(lock, home)
        if reason:
            return Interpreter(None, reason)
        stamp.write_text(digest)
    return Interpreter(home / "bin" / "python")


def _install(lock: Path, home: Path) -> str:
    """Make the environment; why not, where it cannot be."""
    print(f"Making {home} from {lock.name} (once)", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", "--require-hashes", "-r", str(lock)],
        check=False,
        capture_output=True,
        text=True,
    )
    if not done.returncode:
        return ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
    return f"not installed: {errors[-1] if errors else 'pip failed'}"
