"""A socket in use: in tasks, by several at once, and by those who go on too long."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiohttp import WebSocketError, WSCloseCode, WSMessageTypeError, WSMsgType
from flask import Flask, request
from harness import connect, eventually, serve
from raw_websocket import close_code, frame, handshake, raw_socket
from sockets import add_echoes
from watching import Application, both_places, watched

from flask_aiohttp import (
    AioHTTP,
    ClientGone,
    ConcurrentReceive,
    WebSocketClosed,
    await_,
    websocket,
)


def add_both(app: Flask, talk: Any) -> None:
    """Serve the coroutine function *talk* as an async view and below a sync one."""
    app.add_url_rule("/async", "async", websocket(talk))
    app.add_url_rule("/sync", "sync", websocket(lambda: await_(talk())))


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
@both_places
async def test_close_of_the_client_is_answered_with_its_own_code(path: str, code: int) -> None:
    """As RFC 6455, section 5.5.1, has it; the view's loop ends, and can tell the code."""
    app = Application()
    aio = AioHTTP(app)
    codes: list[int | None] = []

    async def talk() -> None:
        async for _ in aio.ws:
            pass
        codes.append(aio.ws.close_code)

    add_both(app, talk)
    async with serve(app, logger=app.log) as served:
        reader, writer = await raw_socket(served, path)
        writer.write(frame(8, code.to_bytes(2, "big")))
        assert b"\x88\x02" + code.to_bytes(2, "big") == await reader.read()
        writer.close()
        await eventually(lambda: codes, "the view's end")

    assert [code] == codes
    assert [] == app.log.lines


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"", WSCloseCode.OK),
        ((1006).to_bytes(2, "big"), WSCloseCode.PROTOCOL_ERROR),
        ((999).to_bytes(2, "big"), WSCloseCode.PROTOCOL_ERROR),
        (b"\x03\xe8\xff", WSCloseCode.INVALID_TEXT),
    ],
)
async def test_close_that_cannot_be_given_back(sent: bytes, code: int) -> None:
    """None, one that must never be sent (section 7.4.1), an unknown one, a bad reason."""
    app = Application()
    add_echoes(app, AioHTTP(app))

    async with serve(app, logger=app.log) as served:
        reader, writer = await raw_socket(served, "/async")
        writer.write(frame(8, sent))
        assert code == await close_code(reader)
        writer.close()

    assert [] == app.log.lines


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(1, b"x" * 100), WSCloseCode.MESSAGE_TOO_BIG),
        (frame(1, b"\xff"), WSCloseCode.INVALID_TEXT),
        (frame(3, b""), WSCloseCode.PROTOCOL_ERROR),
        (frame(0, b"x"), WSCloseCode.PROTOCOL_ERROR),
    ],
)
@both_places
async def test_loop_ends_where_the_client_breaks_a_rule(path: str, wrong: bytes, code: int) -> None:
    """The client is told; the loop yields messages only, and ``aio.ws.exception()`` tells why."""
    app = Application()
    aio = AioHTTP(app)
    got: list[Any] = []

    async def talk() -> None:
        got.extend([message.data async for message in aio.ws])
        got.append(cast("WebSocketError", aio.ws.exception()).code)

    add_both(app, talk)
    async with serve(app, logger=app.log, websocket_max_message_size=50) as served:
        reader, writer = await raw_socket(served, path)
        writer.write(frame(1, b"good") + wrong)
        assert code == await close_code(reader)
        writer.close()
        await eventually(lambda: len(got) == 2, "the view's end")

    assert ["good", code] == got
    assert [] == app.log.lines


@pytest.mark.parametrize("method", ["receive_str", "receive_bytes", "receive_json"])
@both_places
async def test_client_that_leaves_ends_whoever_waits_for_data(path: str, method: str) -> None:
    """``while True: await aio.ws.receive_str()`` is a loop that ends with its client."""
    app = Application()
    aio = AioHTTP(app)
    ended: list[str] = []

    async def talk() -> None:
        try:
            while True:
                await getattr(aio.ws, method)()
        except ClientGone as error:
            ended.append(error.what)
            raise

    add_both(app, talk)
    async with watched(app) as served:
        async with served.session.ws_connect(path):
            pass
        await eventually(lambda: ended, "the view's end")

    assert ["waiting for a websocket message"] == ended
    assert [] == app.log.lines


async def test_message_of_the_other_kind_is_an_error() -> None:
    """A view that wants text and gets bytes is told, as aiohttp does."""
    app = Application()
    aio = AioHTTP(app)
    raised: list[str] = []

    @app.route("/")
    @websocket
    async def view() -> None:
        for receive in (aio.ws.receive_str, aio.ws.receive_bytes):
            try:
                await receive()
            except WSMessageTypeError as error:
                raised.append(str(error))

    async with serve(app) as served, served.session.ws_connect("/") as socket:
        await socket.send_bytes(b"x")
        await socket.send_str("x")
        await socket.receive()

    assert 2 == len(raised)


async def test_two_who_receive_at_once_are_told() -> None:
    """The second one gets a named error; the first goes on."""
    app = Flask(__name__)
    aio = AioHTTP(app)

    @app.route("/")
    @websocket
    async def view() -> None:
        first = asyncio.create_task(aio.ws.receive_str())
        await asyncio.sleep(0)
        with pytest.raises(ConcurrentReceive, match=r"through an asyncio\.Queue"):
            await aio.ws.receive()
        await aio.ws.send_str("now")
        await aio.ws.send_str(await first)

    async with serve(app) as served, served.session.ws_connect("/") as socket:
        assert "now" == await socket.receive_str()
        await socket.send_str("mine")
        assert "mine" == await socket.receive_str()


@both_places
async def test_view_that_goes_on_after_its_own_close_is_told(path: str) -> None:
    """To send then is a mistake of the view: a named error, with the code of the close."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    raised: list[WebSocketClosed] = []

    async def talk() -> None:
        await aio.ws.close(code=4001)
        for send in (aio.ws.ping, lambda: aio.ws.send_str("x"), lambda: aio.ws.send_bytes(b"x")):
            try:
                await send()
            except WebSocketClosed as error:
                raised.append(error)
        try:
            while True:
                await aio.ws.receive()
        except WebSocketClosed as error:
            raised.append(error)

    add_both(app, talk)
    async with serve(app) as served, served.session.ws_connect(path) as socket:
        assert 4001 == (await socket.receive()).data
        await eventually(lambda: len(raised) == 4, "all errors")

    assert [4001] * 4 == [error.code for error in raised]


async def test_loop_without_an_end_is_told_after_the_clients_close() -> None:
    """``while True: await aio.ws.receive()`` does not spin for ever on a closed socket."""
    app = Application()
    aio = AioHTTP(app)

    @app.route("/")
    @websocket
    async def view() -> None:
        while True:
            await aio.ws.receive()

    async with serve(app, logger=app.log) as served:
        async with served.session.ws_connect("/"):
            pass
        await eventually(lambda: app.log.lines, "the error")

    assert "WebSocketClosed: this websocket was closed with code 1000" in app.log.lines[0]


@pytest.mark.parametrize("create", ["asyncio", "aio"])
async def test_tasks_of_the_view_use_the_socket(create: str) -> None:
    """``aio.ws`` and ``request`` in a task are those of the view that has started it."""
    app = Flask(__name__)
    aio = AioHTTP(app)

    async def tick() -> None:
        for number in range(3):
            await aio.ws.send_str(f"{request.path} {number}")

    @app.route("/<name>")
    @websocket
    async def view(name: str) -> None:
        if create == "asyncio":
            task = asyncio.create_task(tick())
        else:
            task = aio.create_task(tick(), request_context=True)
        await aio.ws.send_str(await aio.ws.receive_str())
        await task

    async with serve(app) as served, served.session.ws_connect("/a") as socket:
        got = [await socket.receive_str() for _ in range(3)]
        await socket.send_str("echo")
        got.append(await socket.receive_str())

    assert ["/a 0", "/a 1", "/a 2", "echo"] == got


async def test_two_tasks_that_use_it_first_shake_hands_once() -> None:
    """Both wait for the one handshake, and both go on."""
    app = Flask(__name__)
    aio = AioHTTP(app)

    @app.route("/")
    @websocket
    async def view() -> None:
        socket = aio.ws
        sending = [asyncio.create_task(socket.send_str(text)) for text in "abc"]
        await asyncio.gather(*sending, socket.accept(), socket.accept())

    async with serve(app) as served:
        reader, writer = await connect(served, handshake("/"))
        head, _, frames = (await reader.read(400)).partition(b"\r\n\r\n")
        frames += await reader.readexactly(13 - len(frames))
        writer.close()

    assert 1 == head.count(b"HTTP/1.1 101 ")
    assert b"\x81\x01a\x81\x01b\x81\x01c\x88\x02\x03\xe8" == frames


async def test_dead_peer_is_told_to_whoever_sends_to_it() -> None:
    """In somebody else's loop it is ClientGone, and not that one's own end."""
    app = Application()
    aio = AioHTTP(app)
    members: dict[str, Any] = {}
    gone: list[str] = []

    @app.route("/<name>")
    @websocket
    async def chat(name: str) -> None:
        await aio.ws.accept()
        members[name] = aio.ws
        async for message in aio.ws:
            for other, member in tuple(members.items()):
                try:
                    await member.send_str(message.data)
                except ClientGone as error:
                    gone.append(f"{other}: {type(error).__name__}")

    async with (
        watched(app) as served,
        served.session.ws_connect("/Ada") as ada,
        served.session.ws_connect("/Bob") as bob,
    ):
        await eventually(lambda: len(members) == 2, "both to be there")
        bob._response.connection.transport.abort()
        await eventually(lambda: members["Bob"].closed, "Bob's end")
        for text in ("one", "two"):
            await ada.send_str(text)
            assert text == await ada.receive_str()
        # A socket keeps the error that has ended it, and with it the view.
        members.clear()

    assert ["Bob: ClientGone"] * 2 == gone
    assert [] == app.log.lines
    assert WSMsgType.CLOSED is (await bob.receive()).type
