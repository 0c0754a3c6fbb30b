"""A thread and what it waits for see the same context variables, set or reset by either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar, Token
from typing import Any

import pytest
from flask import Flask, Response, has_request_context
from harness import serve

from flask_aiohttp import AioHTTP, await_
from flask_aiohttp._threads import ThreadPool

variable: ContextVar[str] = ContextVar("variable", default="nothing")


class Variable:
    """Sets and resets it, on this side of a crossing or beyond it."""

    def __init__(self) -> None:
        self.tokens: list[Token[str]] = []
        self.seen: list[str] = []

    def set(self, value: str) -> None:
        self.tokens.append(variable.set(value))

    def reset(self) -> None:
        variable.reset(self.tokens.pop())

    def look(self) -> None:
        self.seen.append(variable.get())

    def beyond(self, function: Callable[..., None], *args: Any) -> None:
        async def call() -> None:
            await asyncio.sleep(0)
            function(*args)

        await_(call())

    def look_on_both_sides(self) -> None:
        self.beyond(self.look)
        self.look()


def set_and_reset_beyond(v: Variable) -> None:
    v.beyond(v.set, "value")
    v.look_on_both_sides()
    v.beyond(v.reset)
    v.look_on_both_sides()


def set_and_reset_here(v: Variable) -> None:
    v.set("value")
    v.look_on_both_sides()
    v.reset()
    v.look_on_both_sides()


def set_here_and_over_it_beyond(v: Variable) -> None:
    v.set("nothing yet")
    v.beyond(v.set, "value")
    v.look_on_both_sides()
    v.beyond(v.reset)
    v.reset()
    v.look_on_both_sides()


def one_after_the_other(v: Variable) -> None:
    set_and_reset_beyond(v)
    set_and_reset_here(v)
    set_and_reset_beyond(v)


@pytest.mark.parametrize(
    "work",
    [
        set_and_reset_beyond,
        set_and_reset_here,
        set_here_and_over_it_beyond,
        one_after_the_other,
    ],
)
async def test_what_one_side_resets_the_other_does_not_keep(
    work: Callable[[Variable], None],
) -> None:
    """A token is good in a later wait, and after it both sides have what was there before."""
    v = Variable()
    pool = ThreadPool(1)

    # An empty context: the variable has no value, which is not the same as its default.
    await pool.run(lambda: work(v), Context())
    pool.stop()

    assert ["value", "value", "nothing", "nothing"] * (len(v.seen) // 4) == v.seen
    assert len(v.seen) in (4, 12)


async def test_a_wait_in_another_context_of_the_thread_is_no_error() -> None:
    """A thread may enter a context of its own: what cannot be reset there is left alone."""
    v = Variable()
    pool = ThreadPool(1)

    def work() -> None:
        v.beyond(v.set, "value")
        Context().run(v.beyond, v.reset)
        v.beyond(v.look)

    await pool.run(work, Context())
    pool.stop()

    assert ["value"] == v.seen  # it is the thread's own


async def test_a_request_that_is_over_does_not_come_back_in_its_body() -> None:
    """A generator without stream_with_context() has no request, also after a wait in the view."""
    app = Flask("crossing")
    AioHTTP(app)
    seen = []

    @app.route("/")
    def view() -> Response:
        await_(asyncio.sleep(0))

        def parts() -> Any:
            for part in ("a", "b"):
                seen.append(has_request_context())
                await_(asyncio.sleep(0))
                seen.append(has_request_context())
                yield part

        return Response(parts())

    async with serve(app) as served, served.session.get("/") as response:
        text = await response.text()

    assert "ab" == text
    assert [False] * 4 == seen
