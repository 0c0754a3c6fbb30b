"""``app.test_client()`` opens websockets, in process, and keeps what Flask's client promises."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from aiohttp import WSMsgType
from flask import Flask, abort, g, jsonify, redirect, request, session
from flask.testing import FlaskClient
from harness import wait_for
from sockets import add_echoes

from flask_aiohttp import (
    AioHTTP,
    WebSocketEnded,
    WebSocketRejected,
    await_,
    websocket,
)
from flask_aiohttp._background import background_loop
from flask_aiohttp.testing import FlaskAioHTTPClient

PROTOCOL = "Sec-WebSocket-Protocol"


def described(request: Any) -> dict[str, Any]:
    names = ("REMOTE_ADDR", "REMOTE_USER", "HTTP_USER_AGENT", "SCRIPT_NAME", "wsgi.url_scheme")
    return {
        "url": request.url,
        "headers": {
            name: value
            for name, value in request.headers
            if name not in ("Connection", "Upgrade") and not name.startswith("Sec-Websocket-")
        },
        "cookies": request.cookies,
        **{name: request.environ.get(name) for name in names},
    }


def make_app() -> Flask:
    """Return an application with a socket for each claim."""
    app = Flask(__name__)
    app.secret_key = "secret"
    aio = AioHTTP(app)
    add_echoes(app, aio)

    @app.route("/about")
    @websocket
    async def about() -> None:
        await aio.ws.send_json(described(request))

    @app.get("/plain-about")
    def plain_about() -> Any:
        return jsonify(described(request))

    @app.route("/session")
    @websocket
    async def session_of() -> None:
        g.seen = dict(session)
        await aio.ws.send_json(g.seen)

    @app.route("/refused/<how>")
    @websocket
    async def refused(how: str) -> Any:
        session["refused"] = how
        if how == "abort":
            abort(403)
        if how == "redirect":
            return redirect("/login")
        return {"error": how}, 409, {"X-Why": "full"}

    @app.route("/cookie")
    @websocket
    async def cookie() -> None:
        aio.ws.set_cookie("flavour", "oat")
        await aio.ws.accept()

    @app.route("/close/<int:code>")
    @websocket
    async def close(code: int) -> None:
        await aio.ws.close(code=code, message=b"enough")

    @app.route("/choosy")
    @websocket(protocols=("a",), compress=True)
    async def choosy() -> None:
        async for message in aio.ws:
            await aio.ws.send_str(message.data)

    @app.route("/data")
    @websocket
    async def data() -> None:
        await aio.ws.send_bytes((await aio.ws.receive_bytes())[::-1])
        await aio.ws.send_json({"sum": sum(await aio.ws.receive_json())})

    return app


@pytest.fixture(name="app")
def _app() -> Flask:
    return make_app()


@pytest.fixture(name="client")
def _client(app: Flask) -> FlaskAioHTTPClient:
    client = app.test_client()
    assert isinstance(client, FlaskAioHTTPClient)
    return client


@pytest.mark.parametrize("path", ["/async", "/sync"])
def test_view_and_test_talk(client: FlaskAioHTTPClient, path: str) -> None:
    """Messages go both ways in each place, and the end of the block closes with 1000."""
    with client.websocket(path) as ws:
        for text in ("one", "", "zwölf" * 50_000):
            ws.send_str(text)
            assert text == ws.receive_str()
        assert ws.close_code is None

    assert 1000 == ws.close_code


def test_messages_are_bytes_and_json_too(client: FlaskAioHTTPClient) -> None:
    """What is sent in one form is received in that."""
    with client.websocket("/data") as ws:
        ws.send_bytes(b"abc")
        assert b"cba" == ws.receive_bytes()
        ws.send_json([1, 2, 3])
        assert {"sum": 6} == ws.receive_json()


def test_message_of_the_other_kind_is_an_error(client: FlaskAioHTTPClient) -> None:
    """A test that expects text is told that there came bytes, and what they were."""
    with client.websocket("/data") as ws:
        ws.send_bytes(b"abc")
        with pytest.raises(TypeError, match=r"BINARY, not TEXT: .*b'cba'"):
            ws.receive_str()
        ws.send_json([])
        ws.receive()


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"query_string": {"q": "ä b&c"}},
        {"headers": {"X-One": "1", "Authorization": "Basic x"}},
        {"headers": {"X-One": "zw\xf6lf"}},
        {"base_url": "https://shop.example:8443/root"},
        {"environ_overrides": {"REMOTE_ADDR": "192.0.2.7", "REMOTE_USER": "ada"}},
        {"environ_base": {"REMOTE_ADDR": "192.0.2.8"}},
        {"auth": ("ada", "secret")},
    ],
    ids=lambda arguments: " ".join(arguments) or "none",
)
def test_view_sees_the_request_that_any_other_view_sees(
    client: FlaskAioHTTPClient, arguments: dict[str, Any]
) -> None:
    """The arguments of ``client.get()`` mean the same to ``client.websocket()``."""
    client.set_cookie("flavour", "oat", domain="localhost")

    plain = client.get("/plain-about", **arguments).json
    with client.websocket("/about", **arguments) as ws:
        about = ws.receive_json()

    assert plain is not None
    assert {**plain, "url": plain["url"].replace("/plain-about", "/about")} == {
        **about,
        "url": about["url"].replace("ws", "http", 1),
    }


def test_cookies_of_the_handshake_are_kept(client: FlaskAioHTTPClient) -> None:
    """The next request sends the cookie that the handshake has set."""
    with client.websocket("/cookie") as ws:
        assert 101 == ws.response.status_code

    cookies = (client.get("/plain-about").json or {})["cookies"]
    assert "oat" == cookies["flavour"]


def test_session_goes_along_both_ways(client: FlaskAioHTTPClient) -> None:
    """The socket has the session of the client, and a refusal may change it."""
    with client.session_transaction() as stored:
        stored["user"] = "ada"
    with client.websocket("/session") as ws:
        assert {"user": "ada"} == ws.receive_json()

    with pytest.raises(WebSocketRejected):
        client.websocket("/refused/answer")
    with client.session_transaction() as stored:
        assert {"user": "ada", "refused": "answer"} == dict(stored)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/refused/abort", 403, "Forbidden"),
        ("/refused/redirect", 302, "/login"),
        ("/refused/answer", 409, '{"error":"answer"}'),
        ("/missing", 404, "Not Found"),
        ("/plain-about", 400, "Bad Request"),
    ],
)
def test_answer_without_a_handshake_is_raised_with_its_response(
    client: FlaskAioHTTPClient, path: str, status: int, text: str
) -> None:
    """The error says the status, and has the whole answer."""
    with pytest.raises(WebSocketRejected, match=f"{path}.* refused with '{status} ") as caught:
        client.websocket(path)

    assert status == caught.value.response.status_code
    assert text in caught.value.response.text
    assert ("full" if status == 409 else None) == caught.value.response.headers.get("X-Why")


def test_page_of_another_origin_is_refused_here_too(client: FlaskAioHTTPClient) -> None:
    """The handshake is the one of the server, with all that it checks."""
    with pytest.raises(WebSocketRejected) as caught:
        client.websocket("/async", headers={"Origin": "https://evil.example"})

    assert 403 == caught.value.response.status_code
    with client.websocket("/async", headers={"Origin": "http://localhost"}):
        pass


def test_application_closes_with_a_code(client: FlaskAioHTTPClient) -> None:
    """``receive()`` returns the end, the others raise it, and sending raises it too."""
    with client.websocket("/close/4001") as ws:
        message = ws.receive()
        assert (WSMsgType.CLOSE, 4001, "enough") == (message.type, message.data, message.extra)
        assert 4001 == ws.close_code
        for use in (ws.receive_str, ws.receive_bytes, lambda: ws.send_str("?")):
            with pytest.raises(WebSocketEnded, match="4001"):
                use()

    with client.websocket("/close/4002") as ws, pytest.raises(WebSocketEnded) as caught:
        ws.receive_json()
    assert (4002, "enough") == (caught.value.code, caught.value.reason)


def test_test_closes_with_a_code(app: Flask) -> None:
    """The view sees the code; the second close does nothing."""
    aio = AioHTTP(app)
    seen = []

    @app.route("/seen")
    @websocket
    async def view() -> None:
        message = await aio.ws.receive()
        seen.append((message.type, message.data, message.extra))

    ws = app.test_client().websocket("/seen")
    ws.close(4003, "bye")
    ws.close()

    assert [(WSMsgType.CLOSE, 4003, "bye")] == seen
    with pytest.raises(WebSocketEnded):
        ws.send_str("?")


@pytest.mark.parametrize("keeps", [True, False])
def test_context_is_kept_in_a_block_as_by_flask(client: FlaskAioHTTPClient, keeps: bool) -> None:
    """In ``with client:`` a test sees the request's ``g`` and ``request`` until the next one."""
    if not keeps:
        with client.websocket("/session"):
            pass
        assert not request
        return
    with client:
        client.get("/plain-about")
        with client.websocket("/session") as ws:
            ws.receive()
        assert ("/session", {}) == (request.path, g.seen)
        with pytest.raises(WebSocketRejected):
            client.websocket("/refused/answer")
        assert ("/refused/answer", "answer") == (request.path, session["refused"])
        with client.websocket("/session"):
            pass
        client.get("/plain-about")
        assert "/plain-about" == request.path
        assert "seen" not in g
        with client.websocket("/session"):
            pass
    assert not request


class Login(FlaskClient):
    """A client of an application's own."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["headers"] = {**dict(kwargs.get("headers") or {}), "X-One": "own"}
        return super().open(*args, **kwargs)


class OwnFlask(Flask):
    test_client_class = Login


@pytest.mark.parametrize("how", ["class", "before", "after"])
def test_client_class_of_the_application_stays(how: str) -> None:
    """It is extended, whether it was there first, and sees the requests for websockets."""
    app = (OwnFlask if how == "class" else Flask)(__name__)
    if how == "before":
        app.test_client_class = Login
    aio = AioHTTP(app)
    if how == "after":
        app.test_client()
        app.test_client_class = Login

    @app.route("/")
    @websocket
    async def view() -> None:
        await aio.ws.send_str(request.headers["X-One"])

    client = app.test_client()
    assert isinstance(client, Login)
    assert "Login" == type(client).__name__
    assert type(client) is type(app.test_client())
    with client.websocket("/") as ws:  # type: ignore[attr-defined]
        assert "own" == ws.receive_str()


@pytest.mark.parametrize("offer", [{"protocols": ["b", "a"]}, {"headers": {PROTOCOL: "b, a"}}])
def test_subprotocol_is_agreed_upon(client: FlaskAioHTTPClient, offer: dict[str, Any]) -> None:
    """The client offers some, and learns which one the view has chosen."""
    with client.websocket("/choosy", **offer) as ws:
        assert "a" == ws.protocol
    with client.websocket("/choosy") as ws:
        assert ws.protocol is None


def test_compression_is_agreed_upon(client: FlaskAioHTTPClient) -> None:
    """It is offered only where the test says so, and used."""
    with client.websocket("/choosy") as ws:
        assert "Sec-WebSocket-Extensions" not in ws.response.headers
    with client.websocket("/choosy", compress=15) as ws:
        assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
        ws.send_str("x" * 100_000)
        assert "x" * 100_000 == ws.receive_str()


def test_settings_of_the_application_count(app: Flask) -> None:
    """What is configured for the server is what is tested."""
    app.config["AIOHTTP_WEBSOCKET_ORIGINS"] = ["https://friend.example"]
    client = app.test_client()
    assert isinstance(client, FlaskAioHTTPClient)

    with client.websocket("/async", headers={"Origin": "https://friend.example"}) as ws:
        ws.send_str("x")
        assert "x" == ws.receive_str()


def test_nothing_is_left_of_a_websocket(client: FlaskAioHTTPClient) -> None:
    """No task is left on the loop, and no thread, also not after a refusal."""

    async def tasks() -> int:
        return len(asyncio.all_tasks()) - 1

    before = await_(tasks())
    threads = set(threading.enumerate())
    for path in ("/async", "/sync", "/refused/answer", "/close/4001"):
        try:
            with client.websocket(path):
                pass
        except WebSocketRejected:
            pass

    assert background_loop().is_running()
    assert before == await_(tasks())
    wait_for(lambda: set(threading.enumerate()) <= threads, "the end of the pool's threads")
