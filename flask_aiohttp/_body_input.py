"""``wsgi.input``: a file whose reads wait for the client.

What has arrived is read without waiting; the rest is awaited through the bridge, so that a slow
upload suspends one greenlet or blocks one thread, and an unread one stops at the socket's buffers.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from aiohttp import StreamReader

from ._disconnected import Disconnected, SlowClient
from ._waiting import await_

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ("BodyInput", "receive")

# The largest piece that is taken from the connection at a time, in bytes.
_PIECE = 1 << 18


class BodyInput(io.BufferedIOBase):
    """The body of one request, as a readable binary file.

    Args:
        content: Where aiohttp puts what arrives.
        timeout: Seconds that the client may let pass between two pieces.
        ask: Called on the loop before the first wait; sends ``100 Continue`` where the client
            expects it.
    """

    def __init__(
        self, content: StreamReader, timeout: float, ask: Callable[[], object] | None
    ) -> None:
        super().__init__()
        self._content = content
        self._timeout = timeout
        self._ask = ask

        # Arrived; the application has read it up to _position.
        self._buffer = b""
        self._position = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return *size* bytes, fewer only at the body's end; all of it when *size* is negative.

        Raises:
            SlowClient: Nothing arrived for too long.
            Disconnected: The client left, or sent a malformed body.
        """
        everything = size is None or size < 0
        pieces: list[bytes] = []
        missing = sys.maxsize if everything else cast("int", size)
        while missing and (piece := self.read1(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def read1(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes of what arrives next; empty only at the body's end."""
        if self._position >= len(self._buffer) and size:
            self._buffer, self._position = self._receive(), 0
        end = len(self._buffer) if size < 0 else self._position + size
        taken = self._buffer[self._position : end]
        self._position += len(taken)
        return taken

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the bytes up to and with the next newline, or *size* bytes of a longer line."""
        missing = sys.maxsize if size is None or size < 0 else size
        pieces: list[bytes] = []
        while missing and (piece := self.read1(1)):
            end = self._buffer.find(b"\n", self._position - 1) + 1 or len(self._buffer)
            piece += self.read1(min(end - self._position, missing - 1))
            pieces.append(piece)
            missing -= len(piece)
            if piece.endswith(b"\n"):
                break
        return b"".join(pieces)

    def _receive(self) -> bytes:
        """Return what arrives next; empty only at the body's end."""
        return b"" if self._content.at_eof() else await_(self._next_piece())

    async def _next_piece(self) -> bytes:
        if self._ask is not None:
            ask, self._ask = self._ask, None
            ask()
        return await receive(self._content, _PIECE, self._timeout)


async def receive(content: StreamReader, size: int, timeout: float) -> bytes:
    """Return what arrives next, at most *size* bytes, all that is to come if that is negative.

    Raises:
        SlowClient: Nothing arrived for *timeout* seconds.
        Disconnected: The client left, or sent a malformed body.
    """
    try:
        data = await asyncio.wait_for(content.read(size), timeout)
        if (error := content.exception()) is not None:  # it came while the data was waited for
            raise error
        return data
    except asyncio.TimeoutError:
        raise SlowClient(timeout) from None
    except asyncio.CancelledError:
        raise
    except Exception as error:
        # aiohttp has several: the connection was lost, the chunked coding is malformed, ...
        raise Disconnected("reading the request body") from error
