"""Measure messages in a second, and their delay, from one speaker to many members of a room.

    python benchmarks/rooms.py                          4 workers, 2,000 members, 1,000 messages
    python benchmarks/rooms.py --server redis           over Redis instead of Unix sockets
    python benchmarks/rooms.py --server socketio        Flask-SocketIO: 4 gunicorns with one worker
                                                        each, gevent and Redis
    python benchmarks/rooms.py --sockets 200 --json     smaller, for programs

First messages are sent at a fixed rate, which gives their delay; then as fast as they are taken,
which gives their number in a second. Each member must receive each message once and in order; the
command fails if one does not.

Redis must be installed for the last two, and ``--python`` an interpreter with flask-socketio,
gevent, simple-websocket, redis and gunicorn for the last: ``make bench-rooms`` sets that up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rooms_clients import OURS, SOCKETIO, Outcome, run

HERE = Path(__file__).parent


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@contextlib.contextmanager
def process(command: list[str], port: int, **env: str) -> Iterator[str]:
    """Run a server until the end, and yield its address as soon as it listens."""
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(command, env={**os.environ, **env}, stdout=log, stderr=log)  # noqa: S603
        try:
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                if started.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    sys.exit(f"{command[0]} does not listen:\n{log.read().decode()}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            started.send_signal(signal.SIGTERM)
            started.wait()


@contextlib.contextmanager
def redis() -> Iterator[str]:
    program = shutil.which("redis-server") or sys.exit("redis-server is not installed")
    port = free_port()
    with process([program, "--port", str(port), "--save", ""], port):
        yield f"redis://127.0.0.1:{port}"


@contextlib.contextmanager
def servers(kind: str, python: str, workers: int) -> Iterator[list[str]]:
    """Start what is to be measured, and yield the addresses of its servers."""
    with contextlib.ExitStack() as stack:
        url = "" if kind == "sockets" else stack.enter_context(redis())
        app, options, number = "rooms_ours:app", ["--workers", str(workers)], 1
        options += ["--worker-class", "flask_aiohttp_worker.Worker"]
        if kind == "socketio":
            # Its documentation: one worker for each gunicorn, and something that spreads clients.
            app, options, number = "rooms_socketio:app", ["--worker-class", "gevent"], workers
        env = {"ROOMS_REDIS": url} if url else {}
        addresses = []
        for _ in range(number):
            port = free_port()
            command = [python, "-m", "gunicorn", app, "--bind", f"127.0.0.1:{port}", *options]
            command += ["--chdir", str(HERE), "--no-control-socket", "--graceful-timeout", "2"]
            command += ["--worker-connections", "10000", "--backlog", "4096"]
            addresses.append(stack.enter_context(process(command, port, **env)))
        # Each worker has to listen, not only their master.
        time.sleep(2)
        yield addresses


def cpu_seconds() -> float:
    """Return what all servers have used, Redis included: it is the same on a busy machine."""
    ticks, waiting = 0, [os.getpid()]
    while waiting:
        pid = waiting.pop()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        waiting += map(int, children)
        for child in children:
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def figures(kind: str, paced: Outcome, fast: Outcome) -> dict[str, Any]:
    """Return what is worth knowing of two runs."""
    return {
        "server": kind,
        "members": fast.members,
        "spread": sorted(fast.spread.values()),
        "messages": fast.messages,
        "exact members": [paced.exact, fast.exact],
        "seconds": round(fast.seconds, 2),
        "messages per second": round(fast.messages / fast.seconds, 1),
        "deliveries per second": round(fast.messages * fast.members / fast.seconds),
        "median delay in ms": round(1000 * paced.percentile(50), 1),
        "99th percentile in ms": round(1000 * paced.percentile(99), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--server", choices=("sockets", "redis", "socketio"), default="sockets")
    parser.add_argument("--python", default=sys.executable, help="the server's interpreter")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--sockets", type=int, default=2000)
    parser.add_argument("--messages", type=int, default=1000, help="as fast as they are taken")
    parser.add_argument("--paced", type=int, default=50, help="messages at a fixed rate")
    parser.add_argument("--rate", type=float, default=5.0, help="of those in a second")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    # Each member is a connection in this process, and one in its worker.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < options.sockets + 100:
        sys.exit(f"{options.sockets} members need more than {hard} open files: ulimit -n")

    dialect = SOCKETIO if options.server == "socketio" else OURS
    runs = [(options.paced, options.rate), (options.messages, 0.0)]
    spent: list[float] = []
    with servers(options.server, options.python, options.workers) as addresses:
        before = cpu_seconds()
        paced, fast = asyncio.run(run(addresses, dialect, options.sockets, runs))
        spent.append(cpu_seconds() - before)
    result = figures(options.server, paced, fast)
    result["CPU microseconds for each delivery"] = round(
        1e6 * spent[0] / (fast.members * (fast.messages + paced.messages)), 1
    )
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:>44}  {value}")
    if {paced.exact, fast.exact} != {options.sockets}:
        sys.exit("some members did not receive each message once and in order")


if __name__ == "__main__":
    main()
