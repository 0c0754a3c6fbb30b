"""Two workers serve every kind of view."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from harness import PATIENCE, Gunicorn


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    directory = tmp_path_factory.mktemp("serving")
    server = Gunicorn("worker_demo:app", "--workers", "2", directory=directory)
    server.wait_for_workers(2)
    yield server
    server.kill()


def collect_pids(server: Gunicorn, path: str) -> set[str]:
    """Ask *path* until both workers have answered; where they answer is in their answer."""
    deadline = time.monotonic() + PATIENCE
    answers: set[str] = set()
    while len(answers) < 2 and time.monotonic() < deadline:
        answers.add(server.get(path))
    return answers


@pytest.mark.parametrize("path, place", [("/sync", "thread"), ("/async", "loop")])
def test_both_workers_answer_each_in_the_views_own_place(
    server: Gunicorn, path: str, place: str
) -> None:
    """Sync views run in threads and async views on the loop, in each of the two workers."""
    answers = collect_pids(server, path)

    assert {f"{place} {pid}" for pid in server.workers} == answers


async def test_a_streamed_answer_is_sent_while_the_request_still_comes(server: Gunicorn) -> None:
    """Both directions stream: each part of the body is answered before the next is sent."""
    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await answered.wait()
        yield b"two"

    async with (
        aiohttp.ClientSession(server.url) as session,
        session.post("/echo", data=body()) as response,
    ):
        first = await response.content.read(3)
        answered.set()
        rest = await response.content.read()

    assert (b"one", b"two") == (first, rest)


async def test_websockets_of_both_workers_echo(server: Gunicorn) -> None:
    """A websocket is served on the loop of whichever worker has accepted it."""
    answers = set()

    async with aiohttp.ClientSession(server.url) as session:
        for _ in range(1000):
            async with session.ws_connect("/ws") as ws:
                await ws.send_str("hello")
                answers.add(await ws.receive_str())
            if len(answers) == 2:
                break

    assert {f"loop {pid} hello" for pid in server.workers} == answers


def test_the_environ_says_what_runs_it(server: Gunicorn) -> None:
    """The application learns of gunicorn, of its siblings, and of its client."""
    environ = json.loads(server.get("/environ"))

    assert environ["SERVER_SOFTWARE"].startswith("gunicorn/")
    assert environ["wsgi.multiprocess"] is True
    assert ("127.0.0.1", str(server.port)) == (environ["REMOTE_ADDR"], environ["SERVER_PORT"])


def test_the_answer_names_gunicorn(server: Gunicorn) -> None:
    """The Server field is gunicorn's, without versions of anything."""
    _, headers, _ = server.request("/sync")

    assert "gunicorn" == headers["server"]


def test_startup_has_run_once_in_each_worker(server: Gunicorn) -> None:
    """The hooks of the start run in the workers, not in the master, once in each."""
    started = [line.split()[-1] for line in server.log.splitlines() if "hook: startup" in line]

    assert sorted(str(pid) for pid in server.workers) == sorted(started)
