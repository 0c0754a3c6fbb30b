"""Server-sent events (HTML Living Standard, section 9.2, "Server-sent events")."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import aclosing, nullcontext
from dataclasses import dataclass
from typing import Any, TypeAlias

from flask import Response, current_app, request

from . import _bridge
from ._client import Client
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
    """Return a response that sends *events* as they come, until they end or nobody reads them.

    They are closed when the client goes, and when the server stops: the client then comes back to
    one that serves. The request's context is kept until the end.

    Args:
        events: An async iterable, or a plain one, of :class:`Event`, str or what JSON can hold.
            A plain one cannot be interrupted: it is closed between two events.
        keepalive: Seconds of silence after which a comment is sent, so that proxies and browsers
            keep the connection and a client that has gone is noticed; None sends none, and a
            plain iterable none either.
    """
    # None under other servers.
    client: Client | None = request.environ.get("flask_aiohttp.client")
    body: AsyncBody | SyncBody
    if isinstance(events, AsyncIterable):
        body = AsyncBody(_while_serving(_encode_async(events), keepalive, client))
    else:
        body = SyncBody(_encode(events, client))
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


def _encode(events: Iterable[Any], client: Client | None) -> Iterator[str]:
    iterator = iter(events)
    try:
        for event in iterator:
            yield _encode_one(event)
            if client is not None and client.server_is_closing:
                break
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


async def _encode_async(events: AsyncIterable[Any]) -> AsyncGenerator[str, None]:
    iterator = aiter(events)
    try:
        async for event in iterator:
            yield _encode_one(event)
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


async def _while_serving(
    pieces: AsyncGenerator[str, None], keepalive: float | None, client: Client | None
) -> AsyncIterator[str]:
    """Yield *pieces* until the server stops, and a comment after *keepalive* seconds of silence.

    The pieces are made in one task of their own, from the first to the last, so that a timeout or
    a task group inside of their generator may span several of them.
    """
    # Holds a piece until the client has taken it; a cancelled pump leaves it there.
    queue: asyncio.Queue[str | None] = asyncio.Queue(1)
    stopping = False

    async def pump() -> None:
        async with aclosing(pieces):
            async for piece in pieces:
                queue.put_nowait(piece)
                await queue.join()
                if stopping:
                    break

    # In a greenlet, so that synchronous code below the generator may wait.
    task = asyncio.create_task(_bridge.run(lambda: await_(pump())), name="server-sent events")
    # The reader below may wait for one more.
    task.add_done_callback(lambda _: None if queue.full() else queue.put_nowait(None))

    def stop() -> None:
        nonlocal stopping
        stopping = True
        task.cancel()

    try:
        with client.ends_with_server(stop) if client is not None else nullcontext():
            while not (task.done() and queue.empty()):
                try:
                    piece = await asyncio.wait_for(queue.get(), keepalive)
                except asyncio.TimeoutError:
                    yield _KEEPALIVE
                else:
                    if piece is not None:
                        yield piece
                    queue.task_done()
        if not (stopping and task.cancelled()):
            task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
