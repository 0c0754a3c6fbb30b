"""The demo runs inside what the unit allows it, as far as that can be had without systemd.

bubblewrap makes the same file system (read-only but for two directories, no homes, an own /tmp and
/dev), drops all capabilities, and applies the unit's filters of system calls, address families and
executable memory. Not tried are ProtectProc=, the limits of memory and tasks, and DynamicUser=.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from harness import PATIENCE, wait_for

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "deploy/flask-aiohttp@.service"
NO_NETWORK = ROOT / "deploy/no-network.conf"

# Where the unit has them, for the instance "demo".
RUNTIME = "/run/flask-aiohttp/demo"
STATE = "/var/lib/flask-aiohttp/demo"

# Each line fails in the sandbox, and would succeed for root outside of it.
FORBIDDEN = """
import ctypes, mmap, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def refused(function):
    try:
        function()
    except (OSError, PermissionError) as error:
        return True
    return False
print([
    refused(lambda: os.setuid(0)),
    refused(lambda: os.chroot("/")),
    refused(lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)),
    refused(lambda: socket.socket(socket.AF_NETLINK)),
    refused(lambda: open("/srv/demo/new", "w")),
    refused(lambda: open("/etc/new", "w")),
    refused(lambda: open("/run/flask-aiohttp/demo/new", "w")),
])
"""


class Sandbox:
    """Starts programs as the unit would.

    Args:
        bwrap: bubblewrap.
        directory: For the filter and the two directories that can be written.
        network: False for the service with the drop-in.
    """

    def __init__(self, bwrap: str, directory: Path, *, network: bool) -> None:
        self._directory = directory
        self.runtime = directory / "runtime"
        self.runtime.mkdir()
        (directory / "state").mkdir()
        unit = directory / "unit"
        unit.write_text(SERVICE.read_text() + ("" if network else NO_NETWORK.read_text()))
        self._filter = directory / "filter.bpf"
        with self._filter.open("wb") as output:
            script = Path(__file__).with_name("seccomp_filter.py")
            subprocess.run(["/usr/bin/python3", script, unit], stdout=output, check=True)
        # Python itself may be in a home directory here, where the unit would not find it.
        python = sys.base_prefix
        self._command = [
            *(bwrap, "--unshare-user", "--uid", "10001", "--gid", "10001", "--cap-drop", "ALL"),
            *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),
            *("--tmpfs", "/home", "--tmpfs", "/root", "--tmpfs", "/run", "--tmpfs", "/srv"),
            *("--tmpfs", "/var/lib", "--ro-bind", python, python),
            *("--ro-bind", str(ROOT), str(ROOT), "--ro-bind", sys.prefix, sys.prefix),
            *("--ro-bind", str(ROOT / "examples/demo"), "/srv/demo", "--chdir", "/srv/demo"),
            *("--bind", str(self.runtime), RUNTIME, "--bind", str(directory / "state"), STATE),
            *("--setenv", "RUNTIME_DIRECTORY", RUNTIME, "--setenv", "STATE_DIRECTORY", STATE),
            *("--unshare-ipc", "--unshare-uts", *(() if network else ("--unshare-net",))),
            *("--die-with-parent", "--new-session"),
        ]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start Python with *arguments*."""
        with self._filter.open() as rules:
            number = str(rules.fileno())
            return subprocess.Popen(
                [*self._command, "--seccomp", number, sys.executable, *arguments],
                pass_fds=[rules.fileno()],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )


@pytest.fixture(params=[True, False], ids=["network", "no-network"])
def sandbox(
    request: pytest.FixtureRequest, require: Callable[[str], str], tmp_path: Path
) -> Sandbox:
    require("systemd-analyze")
    require("/usr/bin/python3")
    has_seccomp = ["/usr/bin/python3", "-c", "import seccomp"]
    if subprocess.run(has_seccomp, capture_output=True).returncode:
        require("python3-seccomp, Debian's package,")
    return Sandbox(require("bwrap"), tmp_path, network=request.param)


@pytest.fixture
def demo(sandbox: Sandbox) -> Iterator[subprocess.Popen[str]]:
    """The demo with the command line of the unit."""
    unit = SERVICE.read_text().replace("\\\n", " ").replace("%i", "demo")
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    _, *arguments = command.split()
    arguments = [a.replace("${BIND}", f"unix:{RUNTIME}/http.sock") for a in arguments]
    arguments = [a.replace("${APP}", "app:app") for a in arguments]
    process = sandbox.start("-m", "gunicorn", *arguments, "--workers", "2")
    wait_for(
        lambda: (sandbox.runtime / "http.sock").exists() or process.poll() is not None,
        "the socket",
    )
    yield process
    process.kill()
    process.communicate()


def test_the_sandbox_holds(sandbox: Sandbox) -> None:
    """What the service must not do, it cannot; its own directory it can write."""
    process = sandbox.start("-c", FORBIDDEN)
    output, _ = process.communicate(timeout=PATIENCE)

    assert "[True, True, True, True, True, True, False]\n" == output


class UnixConnection(http.client.HTTPConnection):
    """A connection to a server that listens at a path."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.host)


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


async def test_the_demo_lives_its_life_in_the_sandbox(
    sandbox: Sandbox, demo: subprocess.Popen[str]
) -> None:
    """It serves pages and websockets, is reloaded, and stops in peace."""
    path = str(sandbox.runtime / "http.sock")

    def status() -> int:
        connection = UnixConnection(path)
        with contextlib.closing(connection):
            connection.request("GET", "/", headers={"Host": "localhost"})
            return connection.getresponse().status

    assert 200 == await asyncio.to_thread(status)
    connector = aiohttp.UnixConnector(path)
    async with (
        aiohttp.ClientSession("http://localhost", connector=connector) as session,
        session.ws_connect("/chat?name=Ada") as ws,
    ):
        assert "serving" in await ws.receive_json(timeout=PATIENCE)
        assert "Ada joined" == (await ws.receive_json(timeout=PATIENCE))["note"]

    [master] = children(demo.pid)
    old = {*children(master)}
    os.kill(master, signal.SIGHUP)
    wait_for(lambda: len(children(master)) == 2 and not old & {*children(master)}, "new workers")
    assert 200 == await asyncio.to_thread(status)

    os.kill(master, signal.SIGTERM)
    output, _ = demo.communicate(timeout=PATIENCE)
    assert 0 == demo.returncode, output
    assert [] == [line for line in output.splitlines() if "[ERROR]" in line or "Trace" in line]
