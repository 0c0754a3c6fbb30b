"""Send one worker very many requests of all kinds, and see that it holds no more afterwards.

``make soak`` runs it with 300,000 requests; ``REQUESTS=`` changes that. The end is 1 if a request
failed, if the resident memory grew by 2 % or more, or if anything else is not what it was.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

from harness import Gunicorn
from raw_client import Connection, Failed

# How much the resident memory may grow.
MAX_GROWTH = 0.02

# By how many these may vary: asyncio keeps up to a hundred cancelled timers until they would be
# due, each with the context in which it was made.
SLACK = dict.fromkeys(("contexts", "application contexts", "request contexts"), 100)

# Requests without which a worker is not warm: each buffer has had its largest size.
MIN_WARM_UP = 3000

# Seconds in which what a request has used must be given back.
SETTLE = 30.0


async def plain(client: Connection, target: str, expected: bytes, status: int = 200) -> None:
    _check(target, (status, expected), await client.request("GET", target))


async def upload(client: Connection, target: str, size: int) -> None:
    body = b"x" * size
    expected = (200, str(size).encode())
    _check(target, expected, await client.request("POST", target, body))


async def fail(client: Connection) -> None:
    status, _ = await client.request("GET", "/error")
    _check("/error", 500, status)


async def echo(client: Connection, text: bytes) -> None:
    client.close()
    _check("/echo", text, await client.echo("/echo", text))


async def leave(client: Connection) -> None:
    client.close()
    await client.leave("/endless")


def _check(target: str, expected: object, answer: object) -> None:
    if expected != answer:
        raise Failed(f"{target}: {str(answer)[:200]} instead of {str(expected)[:200]}")


Ask: TypeAlias = Callable[[Connection], Awaitable[None]]
Mix: TypeAlias = tuple[tuple[str, Ask], ...]

# Twenty requests; each client goes through them again and again.
MIX: Mix = (
    *[("sync", lambda c: plain(c, "/sync", b"ok"))] * 5,
    *[("async", lambda c: plain(c, "/async", b"ok"))] * 5,
    ("sync that waits", lambda c: plain(c, "/waits", b"ok")),
    ("task", lambda c: plain(c, "/task", b"ok")),
    ("error", fail),
    ("stream", lambda c: plain(c, "/stream", b"o" * 5000)),
    ("sync stream", lambda c: plain(c, "/stream-sync?piece=o", b"o" * 5000)),
    ("upload", lambda c: upload(c, "/upload", 3000)),
    ("large upload", lambda c: upload(c, "/upload", 100_000)),
    ("large sync upload", lambda c: upload(c, "/upload-sync", 100_000)),
    ("websocket", lambda c: echo(c, b"hello " * 30)),
    ("leaver", leave),
)


class Load:
    """Some clients at a time, and what became of their requests.

    Args:
        port: Of the server.
        clients: How many connections there are at a time.
        mix: What each of them sends, from first to last and again.
    """

    def __init__(self, port: int, clients: int, mix: Mix = MIX) -> None:
        self._port = port
        self._clients = clients
        self._mix = mix
        self.sent: Counter[str] = Counter()
        self.failures: list[str] = []

    async def send(self, number: int) -> None:
        """Send *number* requests, and close all connections."""
        await self._send(iter(range(number)))

    async def _send(self, numbers: Iterator[object]) -> None:
        await asyncio.gather(*[self._client(numbers, start) for start in range(self._clients)])

    async def _client(self, numbers: Iterator[object], start: int) -> None:
        connection = Connection(self._port)
        kinds = itertools.islice(itertools.cycle(self._mix), start, None)
        for _, (name, ask) in zip(numbers, kinds, strict=False):
            try:
                await ask(connection)
                self.sent[name] += 1
            except (Failed, OSError, asyncio.IncompleteReadError) as error:
                self.failures.append(f"{name}: {error!r}")
                connection.close()
        connection.close()

    async def held(self) -> dict[str, int]:
        """Return what the worker holds, once it has given back what it will."""
        counts: dict[str, int] = {}
        deadline = time.monotonic() + SETTLE
        while True:
            before, counts = counts, await self._count()
            if counts["greenlets at work"] == 1 and all(
                abs(counts[name] - before.get(name, -1)) <= SLACK.get(name, 0)
                for name in counts
                if name != "resident KiB"
            ):
                return counts
            if time.monotonic() > deadline:
                return counts
            await asyncio.sleep(0.5)

    async def _count(self) -> dict[str, int]:
        connection = Connection(self._port)
        _, text = await connection.request("GET", "/held", headers="Connection: close\r\n")
        connection.close()
        counts: dict[str, int] = json.loads(text)
        return counts


def grown(before: dict[str, int], after: dict[str, int]) -> list[str]:
    """Return what there is more of than there should be."""
    found = [
        f"{name}: {before[name]} before, {after[name]} now"
        for name in before
        if name != "resident KiB" and after[name] > before[name] + SLACK.get(name, 0)
    ]
    growth = after["resident KiB"] / before["resident KiB"] - 1
    if growth >= MAX_GROWTH:
        found.append(f"the resident memory grew by {growth:.1%}")
    return found


async def soak(port: int, requests: int, clients: int) -> list[str]:
    """Warm up with a tenth, then send all of them; return what is wrong."""
    load = Load(port, clients)
    warm_up = max(requests // 10, MIN_WARM_UP)
    await load.send(warm_up)
    before = await load.held()
    started = time.monotonic()
    await load.send(requests)
    seconds = time.monotonic() - started
    after = await load.held()
    print(f"{requests} requests after {warm_up} to warm up, {seconds:.0f} s")
    print("  " + ", ".join(f"{number} {name}" for name, number in load.sent.most_common()))
    for name, number in before.items():
        print(f"  {name:22} {number:8} {after[name]:8}")
    return load.failures[:20] + grown(before, after)


def main() -> int:
    """Start gunicorn, send the requests, and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=300_000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--loop", default="auto")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        options = ("--asgi-loop", arguments.loop, "--threads", "8")
        server = Gunicorn("soak_app:app", *options, directory=Path(directory))
        try:
            server.wait_for_workers()
            wrong = asyncio.run(soak(server.port, arguments.requests, arguments.clients))
        finally:
            server.kill()
    print("\n".join(wrong) or "nothing was lost, nothing has grown")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
