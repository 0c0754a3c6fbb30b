"""Requests through the exchange, without a socket: in a greenlet, or in a thread of the pool.

A piece of the body waits until the test has asked for it, as it waits for a slow client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any

from way import Call, Way, running_here

from flask_aiohttp import ClientGone, _bridge
from flask_aiohttp._client import Client
from flask_aiohttp._exchange import Exchange
from flask_aiohttp._threads import ThreadPool
from flask_aiohttp._traffic import Traffic

__all__ = ("InProcess",)


class InProcess(Way):
    """Runs each request in the caller's context, as a test client does.

    Args:
        threads: True to run them in the pool's threads, False in greenlets on the loop.
    """

    def __init__(self, threads: bool) -> None:
        super().__init__()
        self.traffic = Traffic()
        self.pool = self.wait(_make_pool()) if threads else None

    def start(self, app: Callable[..., Any], environ: dict[str, Any]) -> Call:
        self.requests += 1
        context = copy_context()
        return self.wait(self._start(app, environ, context))

    async def _start(
        self, app: Callable[..., Any], environ: dict[str, Any], context: Context
    ) -> Call:
        call = _InProcessCall(self, environ["REQUEST_METHOD"])
        call.task = context.run(self.loop.create_task, self._serve(call, app, environ))
        return call

    async def _serve(
        self, call: _InProcessCall, app: Callable[..., Any], environ: dict[str, Any]
    ) -> None:
        exchange = _Exchange(
            app,
            environ,
            call,  # type: ignore[arg-type]
            Client(asyncio.current_task(), self.traffic),
            version=(1, 1),
            server="conformance",
            reusable=True,
        )
        environ["flask_aiohttp.exchange"] = exchange
        try:
            if self.pool is None:
                await _bridge.run(exchange.run)
            else:
                exchange.on_loop = self.pool.post
                await self.pool.run(exchange.run)
        except (ClientGone, asyncio.CancelledError) as error:
            if not call.left:
                call.error = error
        except BaseException as error:  # KeyboardInterrupt would end the loop
            call.error = error
        finally:
            exchange.release()
            call.finish()


class _Exchange(Exchange):
    """An exchange that lets through what it has to refuse, as Werkzeug's test client does.

    Three of Werkzeug's tests have applications that yield str, and one has a status of two digits.
    """

    def __init__(
        self, application: Any, environ: Any, connection: Any, client: Any, **kwargs: Any
    ) -> None:
        super().__init__(self._call_application, environ, connection, client, **kwargs)
        self._lenient = application
        self._call: _InProcessCall = connection

    def _call_application(self, environ: Any, start_response: Any) -> Any:
        def start(status: Any, headers: Any, exc_info: Any = None) -> Any:
            if isinstance(status, str) and not status[:3].isdigit():
                self._call.odd_status, status = status, "200 OK"
            return start_response(status, headers, exc_info)

        return self._lenient(environ, start)

    def write(self, data: Any) -> None:
        if isinstance(data, str):
            self._call.is_text, data = True, data.encode()
        super().write(data)


async def _make_pool() -> ThreadPool:
    return ThreadPool(10, name="conformance")


class _InProcessCall(Call):
    """The test's side of a request, and the connection of the exchange."""

    gone = False
    request_is_whole = True
    can_send_files = False

    def __init__(self, way: InProcess, method: str) -> None:
        super().__init__(method)
        self.way = way
        self.task: asyncio.Task[None] | None = None

        # True once the test wants no more.
        self.left = False

        # What was let through.
        self.odd_status = ""
        self.is_text = False

        self._sent: list[bytes] = []
        self._ended = False

        # Set when there is something to receive; when the test waits for it.
        self._news = asyncio.Event()
        self._wanted = asyncio.Event()

    # What the exchange calls, on the loop.

    def send(self, data: bytes) -> None:
        self._sent += self.answer.feed(data)
        if self._sent:
            self._news.set()

    async def send_and_drain(self, data: bytes) -> None:
        self._wanted.clear()
        self.send(data)
        await self._wanted.wait()

    async def drain(self) -> None:
        pass

    def cut(self) -> None:
        self.answer.end()

    def finish(self) -> None:
        """Take note that the exchange has ended."""
        self._ended = True
        self._news.set()

    # What the test calls, in any thread.

    @property
    def status(self) -> str:
        return self.odd_status or super().status

    @property
    def over(self) -> bool:
        return self._ended and not self._sent

    def receive(self) -> list[Any]:
        pieces = self.way.wait(self._receive())
        return [piece.decode() for piece in pieces] if self.is_text else pieces

    async def _receive(self) -> list[bytes]:
        if not self._sent:
            self._wanted.set()
            await self._news.wait()
        if self.answer.complete and not self._ended:
            assert self.task is not None
            await asyncio.wait({self.task})
        pieces, self._sent = self._sent, []
        if not self._ended:
            self._news.clear()
        return pieces

    def leave(self) -> None:
        if self._ended:
            return
        if running_here(self.way.loop):
            self._cancel()  # collected while the loop does something else
        else:
            self.way.wait(self._leave())

    async def _leave(self) -> None:
        self._cancel()
        assert self.task is not None
        await asyncio.wait({self.task})

    def _cancel(self) -> None:
        self.left = True
        if self.task is not None and not self.answer.complete:
            self.task.cancel()
