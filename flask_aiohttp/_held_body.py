"""Bodies that keep the request's context until they end, async iterables among them.

Rule 1: the pieces come one at a time, each when the last one is on its way to the client.
Rule 2: the request's context is there while they come, and torn down once, after the last.
Rule 3: the source is closed whatever happens, inside the context, before the teardown.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, cast

from flask import Flask, Response
from flask.globals import request_ctx

from ._waiting import await_

__all__ = ("AsyncBody", "HeldBody", "SyncBody", "accept_async_bodies")


class HeldBody(abc.ABC):
    """An iterator of pieces for WSGI, which may hold the context of the request it answers."""

    def __init__(self) -> None:
        # What ended the iteration too early; the teardown is told.
        self._error: BaseException | None = None

        # Ends the hold on the request's context; None while there is none.
        self._release: Callable[[BaseException | None], None] | None = None

    def __iter__(self) -> HeldBody:
        return self

    def __next__(self) -> Any:
        try:
            return self._next_piece()
        except StopIteration:
            raise
        except BaseException as error:
            self._error = error
            raise

    def hold_context(self) -> None:
        """Keep the current request's context until :meth:`close`.

        One more push of the same context: Flask's own pop at the end of the view then tears
        nothing down. (Flask's ``stream_with_context`` tears down twice.)
        """
        if self._release is None:
            context = cast("Any", request_ctx)._get_current_object()
            context.push()
            self._release = context.pop

    def close(self) -> None:
        """Close the source, then let the context go. Idempotent."""
        release, self._release = self._release, None
        error, self._error = self._error, None
        try:
            self._close_source()
        finally:
            if release is not None:
                release(error)

    @abc.abstractmethod
    def _next_piece(self) -> Any: ...

    @abc.abstractmethod
    def _close_source(self) -> None: ...


class AsyncBody(HeldBody):
    """An async iterable as a body.

    Args:
        source: Yields bytes or str.
    """

    def __init__(self, source: AsyncIterable[Any]) -> None:
        super().__init__()
        self._iterator: AsyncIterator[Any] = aiter(source)

    def _next_piece(self) -> Any:
        try:
            return await_(anext(self._iterator))
        except StopAsyncIteration:
            raise StopIteration from None

    def _close_source(self) -> None:
        close = getattr(self._iterator, "aclose", None)
        if close is not None:
            await_(close())


class SyncBody(HeldBody):
    """A plain iterable as a body.

    Args:
        source: Yields bytes or str.
    """

    def __init__(self, source: Iterable[Any]) -> None:
        super().__init__()
        self._iterator: Iterator[Any] = iter(source)

    def _next_piece(self) -> Any:
        return next(self._iterator)

    def _close_source(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


def accept_async_bodies(app: Flask) -> None:
    """Let views, hooks and error handlers of *app* answer with async iterables.

    ``Flask.make_response`` is the documented place where what a view returned becomes a response.
    The context is held from the last step before the response is called, so that a body which a
    hook throws away holds nothing.
    """
    make_response = app.make_response
    process_response = app.process_response

    @functools.wraps(make_response)
    def make(rv: Any) -> Response:
        if isinstance(rv, tuple) and rv and isinstance(rv[0], AsyncIterable):
            rv = (AsyncBody(rv[0]), *rv[1:])
        elif isinstance(rv, AsyncIterable):
            rv = AsyncBody(rv)
        return make_response(rv)

    @functools.wraps(process_response)
    def process(*args: Any) -> Response:
        response = process_response(*args)
        body: Any = response.response
        if isinstance(body, AsyncIterable):
            body = response.response = AsyncBody(body)
        if isinstance(body, HeldBody):
            body.hold_context()
        return response

    app.make_response = make  # type: ignore[method-assign]
    app.process_response = process  # type: ignore[method-assign, assignment]
