"""Clients that stop in the middle, talk nonsense and leave without a word harm nobody but them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable

from harness import PATIENCE, Gunicorn, eventually
from raw_websocket import frame, handshake

CLIENTS = 300

TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9

# What a client may send at any time; much of it ends the websocket.
WORDS = (
    frame(TEXT, "zwölf".encode() * 100),
    frame(BINARY, bytes(70_000)),
    frame(PING, b"?") * 50,
    frame(TEXT, b"a beginning", first=0),
    frame(0, b"an end"),
    frame(TEXT, b"\xff"),
    frame(TEXT, b"close"),
    frame(TEXT, b"\xca\xfe no deflate", first=0xC0),
    frame(CLOSE, b""),
    frame(CLOSE, struct.pack("!H", 1000) + b"bye"),
    frame(CLOSE, struct.pack("!H", 1006)),
    frame(CLOSE, b"\x03"),
    frame(PING, bytes(126)),
    frame(3, b"no such opcode"),
    b"\x81\x05plain",  # without a mask
    b"\x82\xff\x7f" + bytes(7),  # a length of almost 2**63
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"",
)


class Client:
    """One client, which does what a seed says.

    Args:
        seed: The same one does the same again.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    async def visit(self, port: int) -> None:
        """Come, say something, and leave."""
        chance = self._chance
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = handshake("/talk", **chance.choice(({}, {"Sec-WebSocket-Version": "7"})))
            if chance.random() < 0.2:
                writer.write(self._part(head))
            else:
                # Some say something before they have been answered.
                writer.write(head + b"".join(chance.choices(WORDS, k=chance.randint(0, 1))))
                if chance.random() < 0.9:
                    await reader.readuntil(b"\r\n\r\n")
            for word in chance.choices(WORDS, k=chance.randint(0, 6)):
                writer.write(word if chance.random() < 0.7 else self._part(word))
                await writer.drain()
                if chance.random() < 0.5:
                    await asyncio.sleep(0.001)
            await self._leave(reader, writer)
        writer.close()

    def _part(self, data: bytes) -> bytes:
        return data[: self._chance.randint(0, len(data))]

    async def _leave(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        how = self._chance.choice(("at once", "reset", "half", "politely"))
        if how == "reset":
            linger = struct.pack("ii", 1, 0)
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif how == "half":
            writer.write_eof()
            await reader.read()
        elif how == "politely":
            writer.write(frame(CLOSE, struct.pack("!H", 1000)))
            # Without an answer where the last frame was only begun.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(), 0.5)


async def test_clients_without_manners_are_forgotten(gunicorn: Callable[..., Gunicorn]) -> None:
    """Nothing is left of them, also not in the log, and the worker serves on."""
    server = gunicorn("talking:app")
    [pid] = server.wait_for_workers()

    visits = (Client(seed).visit(server.port) for seed in range(CLIENTS))
    await asyncio.wait_for(asyncio.gather(*visits), PATIENCE)

    await eventually(lambda: " 0 requests, 0 websockets" in server.title(pid), "their end")
    assert "talking" in server.get("/")
    assert [pid] == server.workers
    assert "Traceback" not in server.log
    assert "[ERROR]" not in server.log
