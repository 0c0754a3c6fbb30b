"""A websocket without a client that would know better."""

from __future__ import annotations

import asyncio
from typing import Any

from harness import Served, connect
from sockets import HANDSHAKE


def handshake(path: str, **headers: str) -> bytes:
    """Return the request for a websocket."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in (HANDSHAKE | headers).items())
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode()


async def raw_socket(
    served: Served, path: str = "/", **headers: str
) -> tuple[asyncio.StreamReader, Any]:
    """Open a websocket, and return what comes and goes on it."""
    reader, writer = await connect(served, handshake(path, **headers))
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    return reader, writer


def frame(opcode: int, payload: bytes, first: int = 0x80, mask: bytes = bytes(4)) -> bytes:
    """Return a masked frame, with the shortest length; a mask of zeros changes nothing.

    Args:
        first: The bits besides the opcode: 0x80 ends a message, 0x40 is compressed.
    """
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes((first | opcode,)) + length + mask + payload


async def close_code(reader: asyncio.StreamReader) -> int:
    """Return the code of the close frame that comes next, before the connection's end."""
    answer = await reader.read()
    assert answer[:1] == b"\x88", answer[:100]
    return int.from_bytes(answer[2:4], "big")
