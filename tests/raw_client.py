"""HTTP and websockets on bare sockets: as fast as Python can, and nothing is tried twice."""

from __future__ import annotations

import asyncio
import base64
import os
import struct

__all__ = ("Connection", "Failed")


class Failed(Exception):
    """Raised when an answer is not what was asked for."""


class Connection:
    """One connection; requests go one after the other.

    Args:
        port: On 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def _streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self._reader, self._writer

    async def request(
        self, method: str, target: str, body: bytes = b"", headers: str = ""
    ) -> tuple[int, bytes]:
        """Send one request, and return its answer's status and body."""
        reader, writer = await self._streams()
        writer.write(
            f"{method} {target} HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {len(body)}\r\n{headers}\r\n".encode()
            + body
        )
        status, fields = await self._head(reader)
        if fields.get("transfer-encoding") == "chunked":
            answer = await self._chunks(reader)
        else:
            answer = await reader.readexactly(int(fields["content-length"]))
        if fields.get("connection") == "close":
            self.close()
        return status, answer

    async def _head(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(": ") for line in head[1:] if line)
        return int(head[0].split()[1]), {name.lower(): value for name, _, value in pairs}

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readexactly(2)
        return b"".join(parts)

    async def leave(self, target: str) -> None:
        """Send a request, take the beginning of its answer, and be gone."""
        reader, writer = await self._streams()
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await self._head(reader)
        self.close(abort=True)

    async def echo(self, target: str, text: bytes) -> bytes:
        """Open a websocket, send *text*, and return what comes back after closing in peace."""
        reader, writer = await self._streams()
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET {target} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        status, _ = await self._head(reader)
        if status != 101:
            raise Failed(f"{target} was answered with {status}")
        writer.write(_frame(0x1, text))
        answer = await self._message(reader)
        writer.write(_frame(0x8, struct.pack("!H", 1000)))
        await self._message(reader)
        self.close()
        return answer

    async def _message(self, reader: asyncio.StreamReader) -> bytes:
        _, length = await reader.readexactly(2)
        if length == 126:
            [length] = struct.unpack("!H", await reader.readexactly(2))
        return await reader.readexactly(length)

    def close(self, *, abort: bool = False) -> None:
        """End the connection, with *abort* by a reset."""
        if self._writer is not None:
            if abort:
                self._writer.transport.abort()
            else:
                self._writer.close()
        self._reader = self._writer = None


def _frame(opcode: int, payload: bytes) -> bytes:
    """Return one masked frame (RFC 6455, section 5.2); zero is a mask too."""
    length = len(payload)
    head = bytes([0x80 | opcode])
    head += bytes([0x80 | length]) if length < 126 else struct.pack("!BH", 0x80 | 126, length)
    return head + bytes(4) + payload
