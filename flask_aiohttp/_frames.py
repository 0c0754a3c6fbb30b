"""A look at a websocket's frames on their way to aiohttp's reader, for what that one lets pass.

Rule 1: frames are not unpacked here; the reader does that. A read that brings one small frame, as
        most do, costs a comparison.
Rule 2: what breaks RFC 6455 without harm to the reader breaks it nevertheless: a frame without a
        mask (section 5.1), a length in more bytes than it needs (section 5.2). Both end with 1002.
Rule 3: a message that has begun ends in time. The reader holds what there is of it, up to the
        largest message that is allowed, for as long as the client likes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Protocol

__all__ = ("FrameGuard", "Reader")

# An unknown opcode, masked. The reader takes an error from nobody, but finds this one itself.
_BREACH = b"\x83\x80\x00\x00\x00\x00"


class Reader(Protocol):
    """As much of aiohttp's ``WebSocketReader`` as its connection uses."""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]: ...

    def feed_eof(self) -> None: ...


class FrameGuard:
    """Stands between a connection and its websocket's reader.

    Args:
        reader: Where the data go.
    """

    __slots__ = ("_held", "_late", "_missing", "_open", "_reader", "_since", "_timeout", "_timer")

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

        # The beginning of a header, whose rest has not arrived.
        self._held = b""

        # Bytes that are missing from the payload of the last frame.
        self._missing = 0

        # True between the first fragment of a message and the last.
        self._open = False

        # When the message under way has begun; None while there is none.
        self._since: float | None = None
        self._timeout = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._late: Callable[[], object] | None = None

    def limit(self, timeout: float, late: Callable[[], object]) -> None:
        """Call *late* when a message takes longer than *timeout* seconds to arrive."""
        self._timeout = timeout
        self._late = late
        if self._since is not None:  # it came with the handshake
            self._start_timer(timeout)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Pass on what has arrived.

        Returns:
            What aiohttp's connection expects. It never learns of an error: the view does, from the
            reader, and closes the socket while the rest of what the client sends is dropped.
        """
        size = len(data)
        if not (
            # A message of one frame, masked, and at most 125 bytes long?
            self._since is None and 5 < size < 132 and data[1] == size + 122 and data[0] >= 0x80
        ):
            data = self._inspect(data)
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        """Pass on that nothing more will arrive."""
        self.stop()
        self._reader.feed_eof()

    def stop(self) -> None:
        """Let no message be late any more."""
        self._late = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _inspect(self, data: bytes) -> bytes:
        """Follow the frames in *data*; return what the reader shall have of it."""
        data = self._held + data
        self._held = b""
        end = len(data)
        position = self._missing
        while position + 2 <= end:
            length = data[position + 1]
            masked, length = length & 0x80, length & 0x7F
            payload = position + (2 if length < 126 else 4 if length == 126 else 10)
            if payload > end:
                break
            shortest = 0
            if length >= 126:
                shortest = 126 if length == 126 else 1 << 16
                length = int.from_bytes(data[position + 2 : payload], "big")
            if not masked or length < shortest:
                return data[:position] + _BREACH
            if data[position] & 0x0F < 8:  # control frames stand between fragments
                self._open = data[position] < 0x80
            position = payload + 4 + length
        if position < end:
            self._held = data[position:]
            data = data[:position]
        self._missing = max(0, position - end)
        self._watch()
        return data

    def _watch(self) -> None:
        """Take note of whether a message is under way."""
        if not (self._held or self._missing or self._open):
            self._since = None
        elif self._since is None:
            self._since = asyncio.get_running_loop().time()
            if self._timer is None and self._late is not None:
                self._start_timer(self._timeout)

    def _start_timer(self, seconds: float) -> None:
        # One for many messages: to cancel it at the end of each would cost more than it does. It
        # keeps nothing of the request that happens to be running.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        if self._since is None or self._late is None:
            return
        remaining = self._since + self._timeout - asyncio.get_running_loop().time()
        if remaining > 0:
            self._start_timer(remaining)
        else:
            self._late()
