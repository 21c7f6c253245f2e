"""`tickhandler sandbox` serves until it is told to stop, and then ends in order."""

import json
import signal
import subprocess
import sys
import urllib.request

import pytest

COMMAND = [sys.executable, "-m", "tickhandler_dagster", "sandbox"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_says_how_to_reach_it_serves_and_ends_in_order(stop):
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--scale", "0.01"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        said = dict(process.stdout.readline().strip().split("=", 1) for _ in range(3))
        assert set(said) == {"TARDIS_ENDPOINT", "TARDIS_DATASETS_ENDPOINT", "TARDIS_API_KEY"}
        with urllib.request.urlopen(f"{said['TARDIS_ENDPOINT']}/exchanges/binance") as reply:  # noqa: S310  (loopback)
            assert json.load(reply)["name"] == "Binance (simulated)"
        process.send_signal(stop)
        _, complaints = process.communicate(timeout=20)
    assert process.returncode == 0
    assert complaints == ""


def test_a_folder_that_is_not_there_is_an_answer():
    done = subprocess.run(
        [*COMMAND, "--folder", "nowhere"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("--folder: no such folder (was nowhere). Give the folder")
