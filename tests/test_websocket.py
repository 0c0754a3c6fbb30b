"""A websocket is a Flask route: all of Flask's cycle runs before the handshake, then they talk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import WSCloseCode, WSMsgType
from flask import Blueprint, Flask, abort, g, redirect, request, session
from flask.views import View
from harness import Served, eventually, serve
from sockets import HANDSHAKE, add_echoes
from watching import Application, both_places, watched

from flask_aiohttp import AioHTTP, websocket


@both_places
async def test_view_and_client_talk(path: str) -> None:
    """Messages go both ways, and the client's close ends the view and the socket with 1000."""
    app = Application()
    add_echoes(app, AioHTTP(app))

    async with watched(app) as served:
        async with served.session.ws_connect(path) as socket:
            for text in ("one", "", "zwölf" * 10_000):
                await socket.send_str(text)
                assert text == await socket.receive_str()
        await eventually(lambda: not served.server.traffic.websockets, "the socket's end")

    assert WSCloseCode.OK == socket.close_code
    assert [] == app.log.lines


async def test_socket_is_that_of_aiohttp() -> None:
    """``aio.ws`` has what aiohttp documents: JSON, bytes, pings, close codes."""
    app = Flask(__name__)
    aio = AioHTTP(app)

    @app.route("/")
    @websocket
    async def view() -> None:
        await aio.ws.ping(b"?")
        await aio.ws.send_json({"sum": sum(await aio.ws.receive_json())})
        await aio.ws.send_bytes((await aio.ws.receive_bytes())[::-1])
        await aio.ws.close(code=4001, message=b"enough")

    async with serve(app) as served, served.session.ws_connect("/") as socket:
        await socket.send_json([1, 2, 3])
        answer = await socket.receive_json()
        await socket.send_bytes(b"abc")
        data = await socket.receive_bytes()
        last = await socket.receive()

    assert ({"sum": 6}, b"cba") == (answer, data)
    assert (WSMsgType.CLOSE, 4001, "enough") == (last.type, last.data, last.extra)


async def test_sockets_of_one_worker_reach_each_other() -> None:
    """What one socket's view sends to another's goes out at once: all share one loop."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    members: set[Any] = set()

    @app.route("/")
    @websocket
    async def chat() -> None:
        await aio.ws.accept()
        members.add(aio.ws)
        try:
            async for message in aio.ws:
                for member in members:
                    await member.send_str(f"{request.args['name']}: {message.data}")
        finally:
            members.discard(aio.ws)

    async with (
        serve(app) as served,
        served.session.ws_connect("/?name=Ada") as ada,
        served.session.ws_connect("/?name=Bob") as bob,
    ):
        await eventually(lambda: len(members) == 2, "both to be there")
        await ada.send_str("hello")
        heard = [await socket.receive_str() for socket in (ada, bob)]
        await bob.send_str("hi")
        heard += [await socket.receive_str() for socket in (ada, bob)]

    assert ["Ada: hello"] * 2 + ["Bob: hi"] * 2 == heard
    assert set() == members


async def test_request_and_session_are_readable_in_the_socket() -> None:
    """A websocket's view has request, g and the session of the login, as long as it runs."""
    app = Flask(__name__)
    app.secret_key = "test"
    aio = AioHTTP(app)

    @app.route("/login/<name>")
    def login(name: str) -> str:
        session["user"] = name
        return ""

    @app.before_request
    def before() -> None:
        g.user = session.get("user")

    @app.route("/socket")
    @websocket
    async def view() -> None:
        async for message in aio.ws:
            await aio.ws.send_json([message.data, g.user, session["user"], request.args["a"]])

    async with serve(app) as served:
        async with served.session.get("/login/Ada") as response:
            cookie = response.headers["Set-Cookie"].partition(";")[0]
        async with served.session.ws_connect("/socket?a=1", headers={"Cookie": cookie}) as socket:
            answers = []
            for text in ("one", "two"):
                await socket.send_str(text)
                answers.append(await socket.receive_json())

    assert [["one", "Ada", "Ada", "1"], ["two", "Ada", "Ada", "1"]] == answers


def answer_with(how: str) -> Any:
    if how == "abort":
        abort(401)
    if how == "raise":
        raise LookupError("broken")
    return {
        "redirect": lambda: redirect("/login"),
        "text": lambda: ("not now", 503, {"Retry-After": "5"}),
        "dict": lambda: {"error": "full"},
    }[how]()


@pytest.mark.parametrize("where", ["async view", "sync view", "before_request", "async hook"])
@pytest.mark.parametrize(
    "how, status, text",
    [
        ("abort", 401, "Unauthorized"),
        ("redirect", 302, "/login"),
        ("text", 503, "not now"),
        ("dict", 200, '{"error":"full"}\n'),
        ("raise", 500, "Internal Server Error"),
    ],
)
async def test_answer_before_the_handshake_is_http(
    where: str, how: str, status: int, text: str
) -> None:
    """Who returns, aborts or raises before the socket is used answers with plain HTTP."""
    app = Application()
    AioHTTP(app)
    app.add_url_rule("/", "view", websocket(lambda: answer_with(how)))
    if where == "async view":

        @websocket
        async def view() -> Any:
            await asyncio.sleep(0)
            return answer_with(how)

        app.view_functions["view"] = view
    elif where == "before_request":
        app.before_request(lambda: answer_with(how) if request.path == "/" else None)
    elif where == "async hook":

        @app.before_request
        async def guard() -> Any:
            return answer_with(how) if request.path == "/" else None

    async with (
        watched(app) as served,
        served.session.get("/", headers=HANDSHAKE, allow_redirects=False) as response,
    ):
        assert status == response.status
        assert text in await response.text()
        assert "close" == response.headers["Connection"]

    assert (1 if how == "raise" else 0) == len(app.log.lines)


def add_to_blueprint(app: Flask, view: Any) -> str:
    part = Blueprint("part", __name__, url_prefix="/part")
    part.add_url_rule("/<name>", view_func=view)
    app.register_blueprint(part)
    return "/part/Ada"


def add_as_class(app: Flask, view: Any) -> str:
    class Socket(View):
        async def dispatch_request(self, name: str) -> Any:
            return await view(name)

    Socket.dispatch_request = websocket(Socket.dispatch_request)
    app.add_url_rule("/class/<name>", view_func=Socket.as_view("socket"))
    return "/class/Ada"


@pytest.mark.parametrize("add", [add_to_blueprint, add_as_class])
async def test_socket_in_a_blueprint_and_in_a_class(add: Callable[[Flask, Any], str]) -> None:
    """A websocket may stand wherever Flask lets a view stand."""
    app = Flask(__name__)
    aio = AioHTTP(app)

    @websocket
    async def greet(name: str) -> None:
        await aio.ws.send_str(f"hello {name}")

    path = add(app, greet)
    async with serve(app) as served, served.session.ws_connect(path) as socket:
        assert "hello Ada" == await socket.receive_str()


async def test_handshake_names_the_server_as_each_answer_does() -> None:
    """The Server field of the handshake is that of the settings, without versions of anything."""
    app = Flask(__name__)
    add_echoes(app, AioHTTP(app))

    async with serve(app, server="test") as served:
        assert {"test"} == {await server_of(served, path) for path in ("/async", "/missing")}


async def server_of(served: Served, path: str) -> str:
    async with served.session.get(path, headers=HANDSHAKE) as response:
        response.close()
        return response.headers["Server"]
