"""Clients that are slow on purpose are ended in time, and nobody else notices them."""

from __future__ import annotations

import csv
import http.client
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGINT

import pytest
from harness import PATIENCE, Gunicorn

pytestmark = pytest.mark.load

CLIENTS = 150

# That many may be left, the test's own among them.
FEW = CLIENTS * 5 // 100

# States of a socket in /proc/net/tcp. In TIME_WAIT nothing is held but its number.
LISTEN, TIME_WAIT = "0A", "06"

# Seconds that a slow client has; the program itself would go on for three times as long.
LIMIT = 4
ATTACK = 3 * LIMIT

# slowhttptest's modes: heads that never end ("slowloris"), bodies that never end ("R.U.D.Y."), and
# answers that are read a few bytes at a time.
MODES = {
    "head": ["-H", "-i", "1"],
    "body": ["-B", "-i", str(2 * LIMIT), "-s", "8192", "-x", "10", "-t", "POST"],
    "answer": ["-X", "-w", "10", "-y", "20", "-n", str(2 * LIMIT), "-z", "32", "-k", "3"],
}
PATHS = {"head": "/", "body": "/thread", "answer": "/loop/asynchronous?pieces=200"}


@pytest.fixture(name="attack")
def _attack(
    tmp_path: Path, require: Callable[[str], str]
) -> Iterator[Callable[[str, str], subprocess.Popen[bytes]]]:
    """Start slowhttptest; it writes its figures beside the test's other files."""
    program = require("slowhttptest")
    started: list[subprocess.Popen[bytes]] = []

    def start(mode: str, url: str) -> subprocess.Popen[bytes]:
        timing = ["-c", str(CLIENTS), "-r", "100", "-l", str(ATTACK), "-p", "5"]
        figures = ["-g", "-o", str(tmp_path / mode)]
        process = subprocess.Popen(
            [program, *MODES[mode], *timing, *figures, "-u", url + PATHS[mode]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def reached(path: Path) -> int:
    """Return how many connections slowhttptest has made, by its figures of each second."""
    with path.open() as file:
        return max(int(row["Connected"]) + int(row["Closed"]) for row in csv.DictReader(file))


def connections(server: Gunicorn) -> int:
    """Count what the kernel holds for the server, also what the worker has closed already."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f":{server.port:04X}"
    return sum(row[1].endswith(local) and row[3] not in (LISTEN, TIME_WAIT) for row in rows)


@pytest.mark.parametrize("mode", MODES)
def test_slow_clients_are_ended_in_time_while_others_are_served(
    gunicorn: Callable[..., Gunicorn],
    attack: Callable[[str, str], subprocess.Popen[bytes]],
    tmp_path: Path,
    mode: str,
) -> None:
    """At least 95 % of 150 long before they would end by themselves, and without a traceback."""
    limits = {f"FLASK_AIOHTTP_{name}_TIMEOUT": str(LIMIT) for name in ("HEAD", "BODY", "SEND")}
    server = gunicorn("streams:app", "--keep-alive", "75", env=limits)

    others = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)

    process = attack(mode, server.url)
    counts = [0]
    while process.poll() is None and not (max(counts) > CLIENTS / 2 and counts[-1] <= FEW):
        counts.append(connections(server))
        for path in ("/", "/sync"):
            others.request("GET", path)
            assert others.getresponse().read() == b"here"
    attacking = process.poll() is None
    process.send_signal(SIGINT)
    report, _ = process.communicate(timeout=PATIENCE)
    others.close()

    assert CLIENTS == reached(tmp_path / f"{mode}.csv")
    assert CLIENTS / 2 < max(counts)
    assert attacking or b"No open connections left" in report
    assert "Traceback" not in server.log
    assert 0 == server.stop()
