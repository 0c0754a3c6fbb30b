"""Server-sent events (HTML Living Standard, section 9.2, "Server-sent events")."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

from flask import Response, current_app, request

from . import _bridge
from ._held_body import AsyncBody, SyncBody
from ._waiting import await_
from .exceptions import InvalidResponse

__all__ = ("Event", "last_event_id", "sse")

_KEEPALIVE = ": keepalive\n\n"

# All three end a line of an event stream.
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True)
class Event:
    """One event of a stream.

    Args:
        data: A str is sent as it is, line by line; anything else as JSON; None sends no data.
        event: The event's type; browsers call unnamed ones "message".
        id: What the browser sends as ``Last-Event-ID`` when it comes back.
        retry: Milliseconds that the browser waits before it comes back.
    """

    data: Any = None
    event: str | None = None
    id: str | None = None
    retry: int | None = None

    def encode(self) -> str:
        """Return the lines of this event, with the empty one that ends it.

        Raises:
            InvalidResponse: *event* or *id* has a line end or a NUL, which would end the field.
            TypeError: *data* cannot be written as JSON.
        """
        lines = []
        for name, value in (("event", self.event), ("id", self.id)):
            if value is not None:
                if _LINE_END.search(value) or "\0" in value:
                    raise InvalidResponse(f"the {name} of an event has a line end or a NUL")
                lines.append(f"{name}: {value}")
        if self.retry is not None:
            lines.append(f"retry: {int(self.retry)}")
        if self.data is not None:
            text = self.data if isinstance(self.data, str) else json.dumps(self.data)
            lines += [f"data: {line}" for line in _LINE_END.split(text)]
        return "\n".join(lines) + "\n\n"


Events: TypeAlias = "AsyncIterable[str | Event | Any] | Iterable[str | Event | Any]"


def sse(events: Events, *, keepalive: float | None = 15.0) -> Response:
    """Return a response that sends *events* as they come, and closes them when the client goes.

    The request's context is kept until the end.

    Args:
        events: An async iterable, or a plain one, of :class:`Event`, str or what JSON can hold.
        keepalive: Seconds of silence after which a comment is sent, so that proxies and browsers
            keep the connection and a client that has gone is noticed; None sends none. A plain
            iterable cannot be interrupted, and sends none.
    """
    body: AsyncBody | SyncBody
    if isinstance(events, AsyncIterable):
        encoded = _encode_async(events)
        body = AsyncBody(encoded if keepalive is None else _with_keepalive(encoded, keepalive))
    else:
        body = SyncBody(_encode(events))
    response = current_app.response_class(body, mimetype="text/event-stream")
    # A cache must not keep it, and nginx must not collect it.
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Accel-Buffering"] = "no"
    return response


def last_event_id() -> str | None:
    """Return the id of the last event that the client of the current request has seen, or None."""
    return request.headers.get("Last-Event-ID")


def _encode_one(event: Any) -> str:
    return (event if isinstance(event, Event) else Event(event)).encode()


def _encode(events: Iterable[Any]) -> Iterator[str]:
    iterator = iter(events)
    try:
        for event in iterator:
            yield _encode_one(event)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


async def _encode_async(events: AsyncIterable[Any]) -> AsyncIterator[str]:
    iterator = aiter(events)
    try:
        async for event in iterator:
            yield _encode_one(event)
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


async def _with_keepalive(pieces: Any, seconds: float) -> AsyncIterator[str]:
    """Yield *pieces*, and a comment after each *seconds* of silence.

    The pieces are made in one task of their own, from the first to the last, so that a timeout or
    a task group inside of their generator may span several of them.
    """
    queue: asyncio.Queue[str | None] = asyncio.Queue(1)

    async def pump() -> None:
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    await queue.put(piece)
        finally:
            # Without room the reader has been told enough, or reads no more.
            if not queue.full():
                queue.put_nowait(None)

    # In a greenlet, so that synchronous code below the generator may wait.
    task = asyncio.create_task(_bridge.run(lambda: await_(pump())), name="server-sent events")
    try:
        while not (task.done() and queue.empty()):
            try:
                piece = await asyncio.wait_for(queue.get(), seconds)
            except asyncio.TimeoutError:
                yield _KEEPALIVE
            else:
                if piece is not None:
                    yield piece
        task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
