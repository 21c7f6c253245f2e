"""The sidecar as a program on this machine: where Node.js is, and the sidecar with its library.

What belongs here: finding and installing. What does not: running it (`sidecar_feed.py`).

The library is the vendor's and is not shipped with this package: npm fetches it into a folder of
its own, whose name says for which files it was made. There is no lock file: one made here would
hold every user to the version that could be had here, and live Binance futures need a later one.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tickhandler_dagster.adapters.file_lock import exclusive_lock
from tickhandler_dagster.adapters.object_store import storage_errors
from tickhandler_dagster.market.errors import MissingUpstream, VendorUnavailable

_FILES = (
    "capture.mjs",
    "errors.mjs",
    "lines.mjs",
    "package.json",
    "segments.mjs",
    "sidecar.mjs",
)
_LIBRARY = "node_modules/tardis-dev/package.json"
_INSTALL_S = 300
_SETTING = "STREAMING_SPOOL_FOLDER"


@dataclass(frozen=True, slots=True)
class SidecarProgram:
    """A sidecar that can be started.

    Attributes:
        node: The Node.js program.
        script: The sidecar, with its library beside it.
    """

    node: str
    script: Path


def find_program(name: str) -> str:
    """The path of a program.

    Raises:
        MissingUpstream: it is not on this machine.
    """
    found = shutil.which(name)
    if found is None:
        raise MissingUpstream(
            name,
            "not found on this machine, and live ticks need it",
            expected="Node.js 24.19 or newer, with npm",
            remedy="Install Node.js, or play a recording with --replay",
        )
    return found


def install_sidecar(
    cache_folder: Path, *, node: str = "node", npm: str = "npm", timeout_s: float = _INSTALL_S
) -> SidecarProgram:
    """The sidecar in a folder of its version; npm is asked only where it is not there yet.

    A folder is made beside its place and renamed when it is whole, so that a broken install is no
    install. The library's install scripts are not run.

    Args:
        cache_folder: Where sidecars of all versions are kept.
        node: Name or path of Node.js.
        npm: Name or path of npm.
        timeout_s: Longest time npm may take.

    Raises:
        MissingUpstream: Node.js or npm is not there.
        VendorUnavailable: npm failed.
        StorageDenied: the folder may not be written.
    """
    node_path = find_program(node)
    files = {name: _packaged(name) for name in _FILES}
    digest = hashlib.sha256(b"".join(files[name] for name in _FILES)).hexdigest()[:16]
    folder = cache_folder / f"sidecar-{digest}"
    if not (folder / _LIBRARY).is_file():
        npm_path = find_program(npm)
        with exclusive_lock(
            cache_folder / ".install.lock", setting=_SETTING, timeout_s=2 * timeout_s
        ):
            if not (folder / _LIBRARY).is_file():
                _make(folder, files, npm_path, timeout_s)
    return SidecarProgram(node_path, folder / "sidecar.mjs")


def _make(folder: Path, files: dict[str, bytes], npm: str, timeout_s: float) -> None:
    with (
        storage_errors(folder, setting=_SETTING),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".install-") as scratch,
    ):
        made = Path(scratch) / "sidecar"
        made.mkdir()
        for name, content in files.items():
            (made / name).write_bytes(content)
        _npm_install(npm, made, timeout_s)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _npm_install(npm: str, folder: Path, timeout_s: float) -> None:
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
    try:
        done = subprocess.run(  # noqa: S603  (a program the user named, with fixed arguments)
            command, cwd=folder, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        said = f"nothing within {timeout_s:g} s"
    else:
        said = "" if done.returncode == 0 else _last_words(done.stderr)
    if said or not (folder / _LIBRARY).is_file():
        raise VendorUnavailable(
            "npm install tardis-dev",
            "failed",
            was=said or "no library",
            remedy="Check that npm reaches its registry, then run this again",
        )


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[-3:])[:400] or "an error without words"


def _packaged(name: str) -> bytes:
    return resources.files(__package__).joinpath("sidecar", name).read_bytes()
