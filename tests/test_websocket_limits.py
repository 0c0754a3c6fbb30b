"""What a client may do to a websocket has an end: in bytes, and in time."""

from __future__ import annotations

import asyncio
import socket
import zlib
from typing import Any

import pytest
from aiohttp import WSCloseCode
from flask import Flask
from harness import Served, eventually, serve
from raw_websocket import close_code, frame, handshake, raw_socket
from watching import Application

from flask_aiohttp import AioHTTP, ClientGone, websocket

DEFLATE = {"Sec-WebSocket-Extensions": "permessage-deflate"}
LIMIT = 100_000


def make_app(**options: Any) -> Application:
    app = Application()
    aio = AioHTTP(app)

    @app.route("/")
    @websocket(**{"max_msg_size": LIMIT, **options})
    async def echo() -> None:
        async for message in aio.ws:
            await aio.ws.send_str(message.data)

    return app


def bomb(size: int, level: int = 9) -> bytes:
    """Return a compressed text frame that grows to *size* bytes."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    data = deflate.compress(b"x" * size) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return frame(1, data.removesuffix(b"\x00\x00\xff\xff"), first=0xC0)


async def code_after(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, step: int
) -> int:
    """Write *data* so that it takes several reads; return the code of the close that follows.

    A client that has been told sends no more; one that went on would be cut off some day.
    """
    reading = asyncio.create_task(close_code(reader))
    for start in range(0, len(data), step):
        if reading.done():
            break
        writer.write(data[start : start + step])
        await asyncio.sleep(0)
    return await reading


@pytest.mark.parametrize("step", [1000, 20_000, 10_000_000])
@pytest.mark.parametrize(
    "make",
    [
        lambda: frame(1, b"x" * (LIMIT + 1)),
        lambda: frame(1, b"x" * 20 * LIMIT),
        lambda: frame(1, b"x" * (LIMIT - 1), first=0) + frame(0, b"xx"),
        lambda: frame(1, b"x" * 500, first=0) + frame(0, b"x" * 500, first=0) * (LIMIT // 500),
    ],
    ids=["one byte more", "twenty times", "two fragments", "many fragments"],
)
async def test_message_that_is_too_large_is_refused_however_it_comes(make: Any, step: int) -> None:
    """1009 reaches the client, although it is still sending."""
    app = make_app()

    async with serve(app, logger=app.log) as served:
        reader, writer = await raw_socket(served)
        code = await code_after(reader, writer, make(), step)
        assert WSCloseCode.MESSAGE_TOO_BIG == code
        writer.close()

    assert [] == app.log.of("ERROR")


@pytest.mark.parametrize("step", [100, 1000, 10_000_000])
@pytest.mark.parametrize("size", [LIMIT + 2, 1 << 25])
@pytest.mark.parametrize("level", [0, 9])
async def test_compression_bomb_is_cut_at_the_limit(size: int, level: int, step: int) -> None:
    """It is not unpacked beyond that, in whatever pieces it comes: 1009."""
    data = bomb(size if level else 1 << 20, level)
    app = make_app(compress=True)

    async with serve(app, logger=app.log) as served:
        reader, writer = await raw_socket(served, **DEFLATE)
        assert WSCloseCode.MESSAGE_TOO_BIG == await code_after(reader, writer, data, step)
        writer.close()

    assert [] == app.log.of("ERROR")


@pytest.mark.parametrize("declared", [1 << 30, (1 << 63) - 1, 1 << 63])
async def test_length_that_is_only_declared_is_refused_at_once(declared: int) -> None:
    """Nothing is kept for a message that will be too large."""
    app = make_app()

    async with serve(app, logger=app.log) as served:
        reader, writer = await raw_socket(served)
        writer.write(b"\x82\xff" + declared.to_bytes(8, "big") + bytes(4))
        assert WSCloseCode.MESSAGE_TOO_BIG == await close_code(reader)
        writer.close()


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x81\x05hello",
        b"\x81\xfe\x00\x05" + bytes(4) + b"hello",
        frame(1, b"x", first=0xC0),
        frame(9, b"x" * 126),
        frame(9, b"x", first=0),
        frame(1, b"x", first=0) + frame(1, b"x"),
    ],
    ids=["no mask", "long length", "compressed", "large ping", "half ping", "no continuation"],
)
@pytest.mark.parametrize("step", [1, 10_000])
async def test_breach_of_the_protocol_is_told(wrong: bytes, step: int) -> None:
    """1002, after the echo of what was right before."""
    app = make_app()

    async with serve(app, logger=app.log) as served:
        reader, writer = await raw_socket(served)
        writer.write(frame(1, b"right"))
        assert b"\x81\x05right" == await reader.readexactly(7)
        assert WSCloseCode.PROTOCOL_ERROR == await code_after(reader, writer, wrong, step)
        writer.close()

    assert [] == app.log.of("ERROR")


async def test_text_that_is_no_utf8_is_refused() -> None:
    """1007, also if a fragment divides a character."""
    app = make_app()

    async with serve(app, logger=app.log) as served:
        reader, writer = await raw_socket(served)
        writer.write(frame(1, b"\xc3", first=0) + frame(0, b"\xbc") + frame(1, b"\xc3"))
        assert b"\x81\x02\xc3\xbc" == await reader.readexactly(4)
        assert WSCloseCode.INVALID_TEXT == await close_code(reader)
        writer.close()


@pytest.mark.parametrize("how", ["half", "endless"])
async def test_message_that_does_not_end_is_ended(how: str) -> None:
    """1008 after ``message_timeout``, whether the client is silent or goes on for ever."""
    app = make_app(message_timeout=0.1, close_timeout=0.1)

    async with serve(app, logger=app.log) as served:
        reader, writer = await raw_socket(served)
        writer.write(frame(1, b"begin", first=0))
        reading = asyncio.create_task(close_code(reader))
        while not reading.done():
            if how == "endless":
                writer.write(frame(0, b"", first=0) + frame(10, b""))
            await asyncio.sleep(0.01)
        assert WSCloseCode.POLICY_VIOLATION == await reading
        writer.close()

    assert [] == app.log.of("ERROR")


async def connect_and_read_nothing(served: Served) -> Any:
    """Open a websocket whose client has little room, and leaves it full."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", served.port))
    _, writer = await asyncio.open_connection(sock=sock, limit=1)
    writer.write(handshake("/"))
    writer.transport.pause_reading()
    return writer


@pytest.mark.parametrize("what", ["sends", "ends", "pongs"])
async def test_client_that_never_reads_is_dropped(what: str) -> None:
    """Its view is told by ClientGone; memory has a bound, and so has the time."""
    app = Application()
    aio = AioHTTP(app)
    waiting: list[int] = []
    raised: list[str] = []

    async def send() -> None:
        while True:
            await aio.ws.send_str("x" * 50_000)
            transport = aio.ws.transport
            waiting.append(transport.get_write_buffer_size() if transport else 0)

    async def view() -> None:
        await aio.ws.accept()
        try:
            if what == "pongs":
                async for _ in aio.ws:
                    pass
            elif what == "ends":
                await asyncio.wait_for(asyncio.shield(asyncio.create_task(send())), 0.2)
            else:
                await send()
        except ClientGone as error:
            raised.append(error.what)
            raise
        except asyncio.TimeoutError:
            pass

    app.add_url_rule("/", "view", websocket(close_timeout=0.1)(view))
    async with serve(app, logger=app.log, send_timeout=0.3) as served:
        writer = await connect_and_read_nothing(served)
        if what == "pongs":
            pings = frame(9, b"x" * 125) * 1000
            with_room = asyncio.create_task(flood(writer, pings))
            await eventually(lambda: not served.server.traffic.websockets, "its end")
            with_room.cancel()
        else:
            await eventually(lambda: waiting, "the first message")
        await eventually(lambda: not served.server.traffic.websockets, "the socket's end")
        writer.transport.abort()

    assert 1_000_000 > max(waiting, default=0)
    if what == "sends":
        assert ["sending a websocket message"] == raised
    assert [] == app.log.of("ERROR")


async def flood(writer: asyncio.StreamWriter, data: bytes) -> None:
    while True:
        writer.write(data)
        await writer.drain()


@pytest.mark.parametrize("how", ["returns", "waits"])
async def test_dropped_client_holds_no_connection(how: str) -> None:
    """What it has not read is given up soon after the end, also where no pong has come."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    transports: list[Any] = []

    @app.route("/")
    @websocket(close_timeout=0.1, heartbeat=0.1 if how == "waits" else None)
    async def view() -> None:
        await aio.ws.accept()
        transports.append(aio.ws.transport)
        # More than the kernel takes, less than makes a sender wait.
        while aio.ws.transport.get_write_buffer_size() < 20_000:
            await aio.ws.send_str("x" * 30_000)
        if how == "waits":
            async for _ in aio.ws:
                pass

    async with serve(app, send_timeout=60) as served:
        writer = await connect_and_read_nothing(served)
        await eventually(lambda: transports and not served.server.traffic.websockets, "the end")
        await eventually(lambda: transports[0].get_write_buffer_size() == 0, "the connection's end")
        writer.transport.abort()
