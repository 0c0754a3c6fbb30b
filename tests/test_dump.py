"""A process that is about to be killed can tell what it was doing, shortly and whatever happens."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from flask import Flask, Response
from greenlet import greenlet
from harness import PATIENCE, eventually, serve

from flask_aiohttp import AioHTTP, _bridge, _dump, _stacks, await_
from flask_aiohttp._dump import dump


class Held:
    """An application with each kind of view, all of which wait for the same."""

    def __init__(self) -> None:
        self.app = app = Flask("dump")
        self.aio = AioHTTP(app)
        self.waiting = 0
        self.go_on = asyncio.Event()
        self.thread_may_go_on = threading.Event()

        @app.route("/async/<name>")
        async def in_greenlet(name: str) -> str:
            await self.wait()
            return "ok"

        @app.route("/thread")
        def in_thread() -> str:
            self.waiting += 1
            self.thread_may_go_on.wait(PATIENCE)  # the thread's line
            return "ok"

        @app.route("/thread-waits")
        def thread_waits() -> str:
            await_(self.wait())  # the other thread's line
            return "ok"

        @app.route("/stream")
        async def stream() -> Response:
            async def parts() -> AsyncIterator[str]:
                yield "first"
                await self.wait()  # the stream's line

            return Response(parts())

        @app.route("/nested")
        async def nested() -> str:
            return self.synchronous()

        @app.route("/task")
        async def task() -> str:
            self.aio.create_task(self.wait(), name="tidy up")
            return "ok"

    def synchronous(self) -> str:
        other = greenlet(lambda: await_(self.wait()))  # as SQLAlchemy has its own
        other.switch()  # the line below the view
        return "ok"

    async def wait(self) -> None:
        self.waiting += 1
        await self.go_on.wait()  # the line where all wait

    async def dump(self, *paths: str) -> str:
        """Return the dump while requests to *paths* are held."""

        async def get(path: str) -> None:
            async with served.session.get(path) as response:
                await response.read()

        async with serve(self.app) as served:
            asking = [asyncio.create_task(get(path), name=f"client {path}") for path in paths]
            await eventually(lambda: self.waiting == len(paths), "the requests")
            text = dump(served.server.activity)
            self.go_on.set()
            self.thread_may_go_on.set()
            await asyncio.gather(*asking)
        return text


def part(text: str, name: str) -> str:
    """Return what stands below the line that names *name*."""
    found = re.search(rf"^.*{re.escape(name)}.*:\n((?:  .*\n)+)", text, re.MULTILINE)
    assert found, text
    return found.group(1)


@pytest.mark.parametrize(
    ("path", "name", "lines"),
    [
        ("/async/a", "GET /async/a (endpoint 'in_greenlet') in a greenlet", ["where all wait"]),
        ("/thread", "with GET /thread (endpoint 'in_thread')", ["the thread's line"]),
        ("/thread-waits", "of GET /thread-waits (endpoint 'thread_waits')", ["where all wait"]),
        ("/thread-waits", "with GET /thread-waits (end", ["the other thread's line"]),
        ("/stream", "GET /stream (endpoint 'stream')", ["stream's line", "where all wait"]),
        ("/nested", "GET /nested (endpoint 'nested')", ["as SQLAlchemy", "where all wait"]),
        ("/task", "the task 'tidy up' in a greenlet", ["where all wait"]),
    ],
)
async def test_each_request_is_found_where_it_waits(path: str, name: str, lines: list[str]) -> None:
    """Threads, greenlets and tasks are named by what they serve, down to the last await."""
    text = await Held().dump(path)

    stack = part(text, name)
    assert [] == [line for line in lines if line not in stack], text
    assert text.startswith("Threads:\n")
    assert "\nTasks:\n" in text


async def test_those_that_wait_at_one_line_are_told_together() -> None:
    """However many there are, a stack stands there once, with some of their names."""
    text = await Held().dump(*[f"/async/{number}" for number in range(14)])

    [line] = [line for line in text.splitlines() if "GET /async/" in line]
    assert 10 == line.count("GET /async/")
    assert line.endswith(" and 4 more:")
    assert 1 == text.count("the line where all wait")


async def test_there_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many different stacks some are shown, and the others counted."""
    monkeypatch.setattr(_stacks, "_MAX_STACKS", 1)

    text = await Held().dump("/async/a", "/task", "/nested")

    tasks = text[text.index("Tasks:\n") :]
    assert 1 == len(re.findall(r"^[^ ].*:$", tasks, re.MULTILINE)) - 1
    assert re.search(r"^and \d+ more$", tasks, re.MULTILINE)


def fail(*_: Any) -> Any:
    raise LookupError("broken")


@pytest.mark.parametrize(
    ("broken", "left"),
    [("frames_of_threads", "Tasks:\n"), ("frames_of_task", "Threads:\n")],
)
async def test_what_cannot_be_told_does_not_hide_the_rest(
    broken: str, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error while one part is told is told in its place."""
    monkeypatch.setattr(_dump, broken, fail)

    text = await Held().dump("/async/a")

    assert ": cannot be told, LookupError('broken')\n" in text
    assert left in text


async def test_a_deep_stack_shows_its_end() -> None:
    """The innermost frames are those that tell where it hangs."""
    held = Held()

    # Two, since lines that are repeated are shown once.
    async def odd(depth: int) -> str:
        return await even(depth - 1)

    async def even(depth: int) -> str:
        await (odd(depth - 1) if depth else held.wait())
        return "ok"

    held.app.add_url_rule("/deep", "deep", lambda: await_(even(100)))

    stack = part(await held.dump("/deep"), "'await_: test_a_deep_stack")

    assert 20 == stack.count('  File "')
    assert stack.index("in odd") < stack.index("the line where all wait")


async def test_only_carriers_that_wait_are_found() -> None:
    """One that runs, and those that are kept for the next request, wait for nothing."""
    seen: list[Any] = []
    go_on = asyncio.Event()

    def look() -> None:
        seen.append(_bridge.waiting())
        await_(go_on.wait())

    task = asyncio.ensure_future(_bridge.run(look))
    await asyncio.sleep(0)
    waiting: Callable[[], Any] = _bridge.waiting
    seen.append(waiting())
    go_on.set()
    await task

    assert [{}, [task], {}] == [seen[0], list(seen[1]), waiting()]
    assert [] == seen[1][task].frames()
