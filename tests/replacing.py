"""Replace gunicorn's workers in each way there is, under steady load, and count what is lost.

``make replacing`` runs it with 20,000 requests; ``REQUESTS=`` changes that. The end is 1 if one
failed. The clients keep their connections, and try nothing twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness import Gunicorn, wait_for
from raw_client import Connection
from soak import MIX, Ask, Load

CLIENTS = 16

# Seconds between an answer and the next request: a stop finds connections that are idle.
THOUGHT = 0.01


def thinking(ask: Ask) -> Ask:
    """Return *ask* with a pause after it, in which the connection is kept."""

    async def ask_and_think(client: Connection) -> None:
        await ask(client)
        await asyncio.sleep(THOUGHT)

    return ask_and_think


# All that ends by itself: a websocket is closed by a stop, and a client that leaves loses nothing.
KINDS = tuple((name, thinking(ask)) for name, ask in MIX if name not in ("websocket", "leaver"))


class Steady(Load):
    """A load that goes on until it is told to stop."""

    def __init__(self, port: int) -> None:
        super().__init__(port, CLIENTS, KINDS)
        self._over = False

    async def run(self) -> None:
        """Send requests until :meth:`stop`."""
        await self._send(iter(lambda: self._over, True))

    def stop(self) -> None:
        """Let each client end the request that it has begun."""
        self._over = True

    async def reach(self, number: int) -> None:
        """Wait until *number* requests have been sent."""
        while self.sent.total() + len(self.failures) < number:  # noqa: ASYNC110 - it does not tell
            await asyncio.sleep(0.05)


def reload(server: Gunicorn, _: Callable[[], int], times: int = 10) -> None:
    """Replace all workers by SIGHUP, ten times in a row."""
    for _ in range(times):
        old = set(server.workers)
        server.signal(signal.SIGHUP)
        wait_for(lambda old=old: old.isdisjoint(server.workers), "the end of the old workers")
        server.wait_for_workers(len(old))


def add_and_remove(server: Gunicorn, _: Callable[[], int]) -> None:
    """Start one worker more, then one less, three times."""
    number = len(server.workers)
    for _ in range(3):
        server.signal(signal.SIGTTIN)
        server.wait_for_workers(number + 1)
        server.signal(signal.SIGTTOU)
        server.wait_for_workers(number)


def recycle(server: Gunicorn, _: Callable[[], int]) -> None:
    """Let max_requests replace workers."""
    before = server.log.count("Autorestarting worker")
    for number in range(10):  # each has the test's patience
        server.wait_for_log("Autorestarting worker", before + number + 1)


def upgrade(server: Gunicorn, sent: Callable[[], int]) -> None:
    """Start a new master by SIGUSR2, and stop the old one when the new one's workers serve."""

    def new_master() -> int | None:
        return next((pid for pid in server.workers if " master" in server.title(pid)), None)

    number = len(server.workers)
    server.signal(signal.SIGUSR2)
    server.successor = wait_for(new_master, "the new master")
    server.wait_for_workers(number)
    server.stop()
    before = sent()
    wait_for(lambda: sent() > before + 100, "answers of the new one")


class Way(NamedTuple):
    """One way in which workers are replaced, and the options that gunicorn needs for it."""

    replace: Callable[[Gunicorn, Callable[[], int]], None]
    options: tuple[str, ...] = ()


WAYS = {
    "ten HUPs": Way(reload),
    "TTIN and TTOU": Way(add_and_remove),
    "max_requests 50": Way(recycle, ("--max-requests", "50")),
    "USR2": Way(upgrade),
}


async def failures(server: Gunicorn, way: Way, requests: int) -> tuple[int, list[str]]:
    """Replace the workers while requests come, *requests* at least; return them and what failed."""
    load = Steady(server.port)
    sending = asyncio.create_task(load.run())
    await load.reach(10 * CLIENTS)
    await asyncio.to_thread(way.replace, server, lambda: load.sent.total())
    await load.reach(requests)
    load.stop()
    await sending
    return load.sent.total(), load.failures


@contextlib.contextmanager
def started(way: Way, directory: Path, *options: str):
    """Run a gunicorn of two workers."""
    server = Gunicorn("soak_app:app", "-w", "2", *way.options, *options, directory=directory)
    try:
        server.wait_for_workers(2)
        yield server
    finally:
        server.kill()


def main() -> int:
    """Try each way, and return the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--loop", default="auto")
    arguments = parser.parse_args()
    wrong = []
    # Most of the time of recycling is that of booting.
    share = dict.fromkeys(WAYS, arguments.requests // 3) | {"max_requests 50": 1000}
    for name, way in WAYS.items():
        with tempfile.TemporaryDirectory() as directory:
            options = ("--asgi-loop", arguments.loop)
            begun = time.monotonic()
            with started(way, Path(directory), *options) as server:
                sent, failed = asyncio.run(failures(server, way, share[name]))
            seconds = time.monotonic() - begun
            print(f"{name:16} {sent:6} requests, {len(failed)} failed, {seconds:.0f} s", flush=True)
            wrong += failed
    print("\n".join(wrong[:20]) or "nothing was lost")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
