"""``aio.rooms`` in one process: who is in a room hears what is sent to it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from flask import Flask, request
from harness import PATIENCE, Served, eventually, serve

from flask_aiohttp import (
    AioHTTP,
    InvalidRoom,
    NoWebSocket,
    RoomsUnavailable,
    await_,
    sse,
    websocket,
)


def application(**config: Any) -> tuple[Flask, AioHTTP]:
    """A websocket that joins rooms and says what it was told to, and views that send."""
    app = Flask("rooms_in_one_process")
    app.config.update(config)
    aio = AioHTTP(app)

    @app.route("/join")
    @websocket
    async def join() -> None:
        room = request.args["room"]
        exclude = "exclude" in request.args
        async with aio.rooms.join(room):
            await aio.ws.send_str("joined")
            async for message in aio.ws:
                await aio.rooms.send(room, message.data, exclude_self=exclude)

    @app.route("/join-sync")
    @websocket
    def join_sync() -> None:
        with aio.rooms.join(request.args["room"]):
            await_(aio.ws.send_str("joined"))
            while await_(aio.ws.receive()).type is aiohttp.WSMsgType.TEXT:
                pass

    @app.get("/send/<room>/<text>")
    async def send(room: str, text: str) -> dict[str, bool]:
        return {"sent": await aio.rooms.send(room, text)}

    @app.get("/send-sync/<room>/<text>")
    def send_sync(room: str, text: str) -> dict[str, bool]:
        return {"sent": await_(aio.rooms.send(room, text))}

    @app.get("/events/<room>")
    async def events(room: str) -> Any:
        async def messages() -> Any:
            async with aio.rooms.listen(room) as heard:
                async for message in heard:
                    yield message

        return sse(messages())

    @app.get("/members/<room>")
    async def members(room: str) -> str:
        return str(await aio.rooms.members(room))

    return app, aio


class Members:
    """Clients of one server whose websockets are members."""

    def __init__(self, served: Served, stack: contextlib.AsyncExitStack) -> None:
        self.served = served
        self._stack = stack

    async def join(self, room: str, path: str = "/join", **more: str) -> Any:
        """Return the websocket of a client that is in *room*."""
        connecting = self.served.session.ws_connect(path, params={"room": room, **more})
        socket = await self._stack.enter_async_context(connecting)
        assert "joined" == await hear(socket)
        return socket

    async def fetch(self, path: str) -> str:
        """Return the text at *path*."""
        async with self.served.session.get(path) as response:
            assert 200 == response.status
            return await response.text()


@contextlib.asynccontextmanager
async def members_of(app: Any) -> AsyncIterator[Members]:
    """Serve *app*; the websockets are closed at the end."""
    async with serve(app) as served, contextlib.AsyncExitStack() as stack:
        yield Members(served, stack)


async def hear(socket: Any) -> Any:
    return await socket.receive_str(timeout=PATIENCE)


async def test_each_member_of_a_room_hears_what_one_sends() -> None:
    """The sender too; members of other rooms do not."""
    async with members_of(application()[0]) as clients:
        first, second = await clients.join("a"), await clients.join("a")
        other = await clients.join("b")
        await first.send_str("to a")
        await other.send_str("to b")

        assert ["to a", "to a", "to b"] == [await hear(s) for s in (first, second, other)]


async def test_who_sends_may_leave_out_himself() -> None:
    """``exclude_self`` is for what the sender shows already."""
    async with members_of(application()[0]) as clients:
        first = await clients.join("a", exclude="yes")
        second = await clients.join("a")
        await first.send_str("not to me")
        assert "not to me" == await hear(second)
        await second.send_str("to all")

        assert ["to all", "to all"] == [await hear(first), await hear(second)]


@pytest.mark.parametrize("send", ["send", "send-sync"])
@pytest.mark.parametrize("join", ["/join", "/join-sync"])
async def test_async_and_sync_views_join_and_send(send: str, join: str) -> None:
    """In each combination."""
    async with members_of(application()[0]) as clients:
        member = await clients.join("a", join)

        assert '{"sent":true}' == (await clients.fetch(f"/{send}/a/hello")).strip()
        assert "hello" == await hear(member)


async def test_a_stream_of_events_has_what_is_sent_to_the_room_it_listens_to() -> None:
    """Text as it is, and anything else as JSON."""
    app, aio = application()
    async with members_of(app) as clients:

        async def read() -> list[bytes]:
            async with clients.served.session.get("/events/news") as response:
                return [await response.content.readuntil(b"\n\n") for _ in range(2)]

        reading = asyncio.create_task(read())
        await eventually(lambda: aio.rooms.stats().members, "somebody to listen")
        await clients.fetch("/send-sync/news/first")
        await aio.rooms.send("news", {"second": 2})

        assert [b"data: first\n\n", b'data: {"second": 2}\n\n'] == await reading


async def test_a_task_and_a_hook_listen_and_send() -> None:
    """Wherever there is an application context."""
    app, aio = application()
    heard: dict[str, bool] = {}

    @aio.lifespan
    async def listen() -> Any:
        async def collect() -> None:
            async with aio.rooms.listen("jobs") as messages:
                await aio.rooms.send("jobs", "from a task")
                async for message in messages:
                    heard[message] = True

        aio.create_task(collect())
        yield

    @app.before_request
    def send() -> None:
        await_(aio.rooms.send("jobs", request.path))

    async with members_of(app) as clients:
        await eventually(lambda: heard, "the task's message")
        await clients.fetch("/members/jobs")
        await eventually(lambda: len(heard) == 2, "the hook's message")

    assert ["from a task", "/members/jobs"] == list(heard)


async def test_a_stop_does_not_wait_for_a_task_that_listens() -> None:
    """Its messages end as soon as the requests have."""
    app, aio = application()
    ended: list[str] = []

    async def collect() -> None:
        async with aio.rooms.listen("jobs") as messages:
            async for _ in messages:
                pass
        ended.append("by itself")

    @aio.on_startup
    def start() -> None:
        aio.create_task(collect())

    async with serve(app, graceful_timeout=PATIENCE):
        await eventually(lambda: aio.rooms.stats().members, "the task to listen")

    assert ["by itself"] == ended


async def test_members_are_counted() -> None:
    """Sockets and listeners, until they leave."""
    app, aio = application()
    async with members_of(app) as clients:
        assert "0" == await clients.fetch("/members/a")
        first, second = await clients.join("a"), await clients.join("a")
        async with aio.rooms.listen("a"):
            assert "3" == await clients.fetch("/members/a")
        await first.close()
        await second.close()
        await eventually(lambda: not aio.rooms.stats().members, "the members to leave")
        assert "0" == await clients.fetch("/members/a")


async def test_a_socket_that_is_in_a_room_twice_hears_once() -> None:
    """And is a member until it has left as often as it has joined."""
    app, aio = application()

    @app.route("/twice")
    @websocket
    async def twice() -> None:
        async with aio.rooms.join("a"):
            async with aio.rooms.join("a"):
                await aio.rooms.send("a", "inner")
            await aio.rooms.send("a", "outer")
        await aio.rooms.send("a", "after")
        await aio.ws.send_str("end")

    async with serve(app) as served, served.session.ws_connect("/twice") as socket:
        assert ["inner", "outer", "end"] == [await hear(socket) for _ in range(3)]


async def test_a_room_that_is_joined_first_shakes_hands() -> None:
    """``join`` is a use of the socket like any other."""
    app, aio = application()

    @app.route("/first")
    @websocket
    async def first() -> None:
        async with aio.rooms.join("a"):
            await aio.rooms.send("a", "hello")

    async with serve(app) as served, served.session.ws_connect("/first") as socket:
        assert "hello" == await hear(socket)


async def test_json_is_written_by_the_application() -> None:
    """Its provider knows more types than the standard library's."""
    app, aio = application()
    async with members_of(app) as clients:
        member = await clients.join("a")
        await aio.rooms.send("a", {"day": datetime.date(2015, 5, 1)})

        assert '{"day": "Fri, 01 May 2015 00:00:00 GMT"}' == await hear(member)


async def test_messages_of_one_sender_keep_their_order() -> None:
    """For each member, whatever the others do."""
    app, aio = application()
    async with members_of(app) as clients:
        members = [await clients.join("a") for _ in range(5)]

        async def send(sender: int) -> None:
            for number in range(50):
                await aio.rooms.send("a", f"{sender} {number}")

        await asyncio.gather(*map(send, range(3)))
        for member in members:
            heard = [(await hear(member)).split() for _ in range(150)]
            for sender in "012":
                assert list(map(str, range(50))) == [n for s, n in heard if s == sender]


async def test_a_name_that_is_none_is_refused_before_anything_happens() -> None:
    """By each function."""
    aio = application()[1]

    for refused in (aio.rooms.join, aio.rooms.listen):
        with pytest.raises(InvalidRoom):
            refused("")
    with pytest.raises(InvalidRoom):
        await aio.rooms.send("", "x")
    with pytest.raises(InvalidRoom):
        await aio.rooms.members("")


def test_only_a_websocket_can_join() -> None:
    """Anything else listens."""
    app, aio = application(TESTING=True)

    with app.test_request_context("/page"), pytest.raises(NoWebSocket, match="GET /page"):
        aio.rooms.join("a")
    with app.app_context(), pytest.raises(NoWebSocket):
        aio.rooms.join("a")


def test_a_test_client_sends_to_rooms_without_members() -> None:
    """A view that notifies can be tested without a server."""
    client = application()[0].test_client()

    for path in ("/send/a/hello", "/send-sync/a/hello"):
        assert {"sent": True} == client.get(path).json
    assert "0" == client.get("/members/a").text


def test_synchronous_code_of_a_test_hears_what_a_view_sends() -> None:
    """``with`` and ``for`` work as ``async with`` and ``async for`` do."""
    app, aio = application(TESTING=True)

    with aio.rooms.listen("a") as messages:
        app.test_client().get("/send/a/hello")

        assert "hello" == next(iter(messages))


async def test_a_loop_of_somebody_else_may_use_rooms_too() -> None:
    """A script's own ``asyncio.run()``: the work is done on the background loop."""
    _, aio = application(TESTING=True)

    async with aio.rooms.listen("a") as messages:
        await aio.rooms.send("a", b"bytes")
        assert 1 == await aio.rooms.members("a")
        async for message in messages:
            assert b"bytes" == message
            break
    assert 0 == await aio.rooms.members("a")


async def test_a_process_that_can_reach_nobody_is_told_so() -> None:
    """A script, without Redis."""
    aio = application()[1]

    with pytest.raises(RoomsUnavailable, match="set AIOHTTP_ROOMS_URL"):
        await aio.rooms.send("a", "hello")


async def test_mounted_applications_share_their_rooms() -> None:
    """They are served by the same worker."""
    from werkzeug.middleware.dispatcher import DispatcherMiddleware

    main, aio = application()
    mounted = Flask("mounted")
    other = AioHTTP(mounted)

    @mounted.get("/tell")
    async def tell() -> str:
        await other.rooms.send("a", "from the other")
        return "told"

    together = DispatcherMiddleware(main, {"/m": mounted})
    async with members_of(together) as clients:
        member = await clients.join("a")
        await clients.fetch("/m/tell")

        assert "from the other" == await hear(member)
        assert aio.rooms.stats() == other.rooms.stats()


async def test_nothing_is_opened_for_one_process() -> None:
    """No socket, no task, no thread."""
    app, aio = application()
    async with members_of(app) as clients:
        member = await clients.join("a")
        tasks = asyncio.all_tasks()
        await aio.rooms.send("a", "hello")
        await hear(member)

        assert tasks == asyncio.all_tasks()


async def test_a_member_that_breaks_a_rule_is_sent_no_more_and_harms_nobody() -> None:
    """Nothing follows its close, while its connection waits for it to leave."""
    app, _ = application()
    async with serve(app) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(
            b"GET /join?room=a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"\x81\x06joined")
        async with served.session.ws_connect("/join?room=a") as other:
            assert "joined" == await other.receive_str(timeout=PATIENCE)
            writer.write(b"\x83\x80\x00\x00\x00\x00")  # an opcode that there is not
            assert b"\x88\x02\x03\xea" == await reader.readexactly(4)
            async with served.session.get("/send/a/x") as answer:
                assert 200 == answer.status
            assert "x" == await other.receive_str(timeout=PATIENCE)
        writer.write_eof()
        assert b"" == await reader.read()
        writer.close()
