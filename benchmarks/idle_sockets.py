"""How much memory an idle websocket takes, and what many of them cost an HTTP request.

    python benchmarks/idle_sockets.py [--sockets 5000] [--peer PYTHON]

starts one worker, opens the sockets, lets each say and hear one word, and looks at the worker's
resident memory before and after; then it asks for a small page, one request after another, with
and without the sockets. ``--peer`` names an interpreter with Quart and uvicorn, which are measured
in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
HANDSHAKE = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
# A masked text frame "hello", and what comes back.
HELLO = b"\x81\x85\x00\x00\x00\x00hello"
ECHO = b"\x81\x05hello"

# Seconds after which either server sends a ping. Nobody here answers: sockets would be dropped, and
# seem to take less.
_HEARTBEAT = 25

# Sockets that are opened at once.
_BATCH = 50


def ours(port: int) -> list[str]:
    """Return the command that serves the application with this project's worker."""
    return [
        *(sys.executable, "-m", "gunicorn", "idle_flask:app", "--no-control-socket"),
        *("-k", "flask_aiohttp_worker.Worker", "--bind", f"127.0.0.1:{port}"),
        *("--chdir", str(HERE), "--backlog", "4096", "--log-level", "warning"),
        *("--worker-connections", "20000"),
    ]


def peer(python: str, port: int) -> list[str]:
    """Return the command that serves the same with Quart on uvicorn."""
    return [
        *(python, "-m", "uvicorn", "idle_quart:app", "--app-dir", str(HERE)),
        *("--port", str(port), "--backlog", "4096", "--log-level", "warning"),
        *("--ws-per-message-deflate", "false", "--ws-ping-interval", "25"),
    ]


class Server:
    """One server with one worker, in processes of its own."""

    def __init__(self, command: Sequence[str], port: int) -> None:
        self.port = port
        self._process = subprocess.Popen(command)  # noqa: S603  # it is our own

    async def start(self) -> None:
        """Wait until it answers."""
        for _ in range(200):
            try:
                await self.time_request()
            except ConnectionError:
                await asyncio.sleep(0.1)
            else:
                return
        raise SystemExit("the server does not start")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def memory(self) -> int:
        """Resident bytes of the process that serves: the youngest."""
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        status = Path(f"/proc/{children[-1] if children else pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(match.group(1)) * 1024 if match else 0

    async def time_request(self) -> float:
        """Return the seconds that one small request takes, on a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        started = time.perf_counter()
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        seconds = time.perf_counter() - started
        writer.close()
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"unexpected answer: {answer[:100]!r}")
        return seconds

    async def latency(self, requests: int = 500) -> float:
        """Return the median seconds of that many requests."""
        return statistics.median([await self.time_request() for _ in range(requests)])


async def open_socket(port: int) -> socket.socket:
    """Open a websocket that has said a word and heard its echo."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, HANDSHAKE)
    received = b""
    while b"\r\n\r\n" not in received:
        received += await loop.sock_recv(sock, 4096)
    if not received.startswith(b"HTTP/1.1 101"):
        raise SystemExit(f"unexpected answer: {received[:100]!r}")
    await loop.sock_sendall(sock, HELLO)
    while not received.endswith(ECHO):
        received += await loop.sock_recv(sock, 4096)
    return sock


async def measure(name: str, command: Sequence[str], port: int, number: int) -> float:
    """Print what one server takes; return bytes for each socket."""
    server = Server(command, port)
    sockets: list[socket.socket] = []
    try:
        await server.start()
        for _ in range(_BATCH):  # what the first ones load stays
            (await open_socket(port)).close()
        without = await server.latency()
        before = server.memory
        started = time.perf_counter()
        while len(sockets) < number:
            batch = min(_BATCH, number - len(sockets))
            sockets += await asyncio.gather(*(open_socket(port) for _ in range(batch)))
        each = (server.memory - before) / number
        if time.perf_counter() - started > _HEARTBEAT:
            raise SystemExit("opening the sockets took too long: try fewer, or a quieter machine")
        among = await server.latency()
    finally:
        for sock in sockets:
            sock.close()
        server.stop()
    print(
        f"{name:20} {each / 1024:6.1f} KiB a socket; a request takes {without * 1e6:.0f} us, "
        f"{among * 1e6:.0f} us among {number} sockets ({among / without:.2f} times)"
    )
    return each


async def main() -> None:
    """Measure this project, and its peer if there is one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sockets", type=int, default=5000)
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter with Quart and uvicorn")
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    await measure("flask-aiohttp-worker", ours(8981), 8981, options.sockets)
    if options.peer:
        await measure("Quart on uvicorn", peer(options.peer, 8982), 8982, options.sockets)


if __name__ == "__main__":
    asyncio.run(main())
