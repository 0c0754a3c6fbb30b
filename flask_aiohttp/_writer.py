"""From the loop to the client: bytes onto the connection, and what aiohttp is told afterwards.

The answer's bytes go straight to the transport. aiohttp's own response classes would encode
fields as UTF-8, where WSGI means latin-1, and rebuild what is already a list of pairs.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import IO, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from .exceptions import ClientGone

__all__ = ("Connection", "SentResponse", "http_date", "reset")

# Bytes of a file that the kernel is given at a time; each block must be taken within the timeout.
_FILE_BLOCK: Final = 1 << 18


class Connection:
    """The way back to one request's client; its methods are called on the loop.

    Args:
        request: The request that is answered.
        send_timeout: Seconds without progress after which a client that reads nothing is given
            up.
        sendfile: True if the kernel may send files (gunicorn's setting of that name).
    """

    __slots__ = ("_request", "_send_timeout", "_sendfile")

    def __init__(self, request: web.BaseRequest, send_timeout: float, sendfile: bool) -> None:
        self._request = request
        self._send_timeout = send_timeout
        self._sendfile = sendfile

    @property
    def gone(self) -> bool:
        """True once nothing can be sent any more."""
        transport = self._request.transport
        return transport is None or transport.is_closing()

    @property
    def request_is_whole(self) -> bool:
        """True once the request's body has arrived."""
        return self._request.content.is_eof()

    @property
    def can_send_files(self) -> bool:
        """True if the kernel may send files; it cannot encrypt them for TLS."""
        return self._sendfile and self._request.protocol.ssl_context is None

    def send(self, data: bytes) -> None:
        """Hand *data* to the connection, if there still is one."""
        transport = self._request.transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    async def send_and_drain(self, *pieces: bytes) -> None:
        """Hand *pieces* to the connection, and wait until it may take more.

        Raises:
            ClientGone: There is no connection any more.
        """
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ClientGone("sending the answer")
        for piece in pieces:
            transport.write(piece)
        await self.drain()

    async def send_file(self, file: IO[bytes], position: int, size: int) -> int:
        """Let the kernel send *size* bytes of *file*, and return how many it has sent.

        Fewer have been sent where the loop or the file cannot do it, or where the file ends.

        Raises:
            ClientGone: It left, or has taken nothing for too long.
        """
        loop = asyncio.get_running_loop()
        sent = 0
        while sent < size:
            transport = self._request.transport
            if transport is None or transport.is_closing():
                raise ClientGone("sending the answer")
            block = loop.sendfile(
                transport, file, position + sent, min(_FILE_BLOCK, size - sent), fallback=False
            )
            try:
                block_sent = await asyncio.wait_for(block, self._send_timeout)
            except (NotImplementedError, asyncio.SendfileNotAvailableError):
                break
            except asyncio.TimeoutError:
                reset(transport)
                raise ClientGone("waiting for it to read the answer") from None
            except ConnectionError as error:
                raise ClientGone("sending the answer") from error
            if not block_sent:
                break
            sent += block_sent
        return sent

    async def drain(self) -> None:
        """Wait until the client has taken enough of what was sent.

        Raises:
            ClientGone: It left instead, or has taken nothing for too long.
        """
        if not self._request.protocol.writing_paused:
            return
        # One task for the whole wait. To cancel aiohttp's wait at each timeout and begin another
        # one would fail: both share a future, which is cancelled from then on.
        draining = asyncio.ensure_future(self._request.writer.drain())
        try:
            while not draining.done() and (transport := self._request.transport) is not None:
                waiting = transport.get_write_buffer_size()
                await asyncio.wait({draining}, timeout=self._send_timeout)
                if not draining.done() and transport.get_write_buffer_size() >= waiting:
                    reset(transport)
                    raise ClientGone("waiting for it to read the answer")
            try:
                await draining
            except ConnectionError as error:
                raise ClientGone("sending the answer") from error
        finally:
            draining.cancel()

    def send_continue(self) -> None:
        """Tell a client that asked first to send its body (RFC 9110, section 10.1.1)."""
        self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def cut(self, *, abort: bool = False) -> None:
        """End the connection after what was sent, so that the client sees a truncated answer.

        Args:
            abort: End it with an error, where a plain end would look like that of the answer.
        """
        transport = self._request.transport
        if transport is None:
            return
        if abort:
            _end_with_reset(transport)
        transport.close()


def _end_with_reset(transport: asyncio.Transport) -> None:
    """Let the connection end with a reset, and not in order."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def reset(transport: asyncio.Transport) -> None:
    """End a connection now, with all that is not sent.

    After a mere ``abort()`` the kernel would go on offering what it holds, megabytes of it, for as
    long as the client says that it is there.
    """
    _end_with_reset(transport)
    transport.abort()


class SentResponse(web.StreamResponse):
    """What a handler returns to aiohttp for an answer that has been sent already.

    Args:
        status: The answer's status code.
        body_length: Bytes of the body that were sent.
        keep_alive: Whether the connection may carry another request.
    """

    def __init__(self, status: int, body_length: int, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._sent_length = body_length
        self._reusable = keep_alive

        # Set where the client may go on sending and still must see the answer.
        self.linger: Callable[[], Awaitable[None]] | None = None

    @property
    def prepared(self) -> bool:
        return True

    @property
    def keep_alive(self) -> bool:
        return self._reusable

    @property
    def body_length(self) -> int:
        return self._sent_length

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        if self.linger is not None:
            await self.linger()


_date = (0, "")


def http_date() -> str:
    """Return the current time as a Date field has it (RFC 9110, section 5.6.7)."""
    global _date
    now = int(time.time())
    moment, text = _date
    if moment != now:
        text = formatdate(now, usegmt=True)
        _date = (now, text)
    return text
