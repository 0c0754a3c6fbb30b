"""With --preload the application is imported before the fork, and nothing else happens there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import aiohttp
from harness import Gunicorn

# gunicorn calls it in the master, before each fork.
CONFIG = """
import asyncio
import gc
import threading

import aiohttp.web
import greenlet

KINDS = (
    asyncio.AbstractEventLoop, asyncio.Future, aiohttp.web.Server, aiohttp.web.BaseRunner,
    aiohttp.ClientSession, aiohttp.BaseConnector, greenlet.greenlet,
)

def pre_fork(server, worker):
    # Not isinstance(): Flask's proxies would look for a request.
    kinds = [type(thing) for thing in gc.get_objects()]
    found = [kind.__name__ for kind in kinds if issubclass(kind, KINDS)]
    found += [thread.name for thread in threading.enumerate()]
    print("before the fork:", found, flush=True)
"""


async def test_nothing_that_a_fork_would_break_exists_before_it(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    """No loop, no server, no greenlet, and no thread but the main one; then each worker serves."""
    path = tmp_path / "config.py"
    path.write_text(CONFIG)
    server = gunicorn("worker_demo:app", "--preload", "-w", "2", "--config", str(path))
    await asyncio.to_thread(server.wait_for_workers, 2)

    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as ws:
        await ws.send_str("hello")
        echo = await ws.receive_str()
        await ws.close()
        texts = []
        for path in ("/sync", "/async"):
            async with session.get(path) as response:
                texts.append((await response.text()).split()[0])

    assert 2 == server.log.count("before the fork: ['MainThread']")
    assert 2 == server.log.count("before the fork: ")
    assert ["thread", "loop"] == texts
    assert echo.endswith("hello")
