"""The handshake carries what the view wants it to carry, and the session as it stands then."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from flask import Flask, session
from flask.sessions import SecureCookieSessionInterface
from harness import Served, connect, serve
from sockets import HANDSHAKE
from watching import Application

from flask_aiohttp import AioHTTP, AlreadyAccepted, await_, websocket

BOTH = pytest.mark.parametrize("path", ["/async", "/sync"])


async def shake(served: Served, path: str, **headers: str) -> aiohttp.ClientResponse:
    """Send a handshake, and return the answer without waiting for what follows."""
    response = await served.session.get(path, headers=HANDSHAKE | headers)
    if response.status == 101:
        response.close()
    return response


def app_with(view: Any) -> tuple[Application, AioHTTP]:
    """Return an application with a view that calls *view* in each place, then sends a word."""
    app = Application()
    app.secret_key = "test"
    aio = AioHTTP(app)

    @app.route("/async")
    @websocket
    async def async_view() -> None:
        view()
        await aio.ws.send_str("hello")

    @app.route("/sync")
    @websocket
    def sync_view() -> None:
        view()
        await_(aio.ws.send_str("hello"))

    return app, aio


@BOTH
async def test_session_is_carried_as_it_stands(path: str) -> None:
    """What hooks and view wrote to the session before the handshake reaches the client."""

    def view() -> None:
        session["view"] = 2

    app, _ = app_with(view)
    app.before_request(lambda: session.update(hook=1))
    app.add_url_rule("/shown", "shown", lambda: dict(session))

    async with serve(app, logger=app.log) as served:
        response = await shake(served, path)
        cookie = response.headers["Set-Cookie"].partition(";")[0]
        async with served.session.get("/shown", headers={"Cookie": cookie}) as shown:
            assert {"hook": 1, "view": 2} == await shown.json()

    assert 101 == response.status
    assert "Vary" not in response.headers
    assert [] == app.log.lines


async def test_session_that_nobody_changed_is_not_sent() -> None:
    """No cookie is set without need, and none at all where there is no secret key."""
    app, _ = app_with(lambda: session.get("user"))

    async with serve(app) as served:
        unchanged = await shake(served, "/async")
        app.secret_key = None
        null = await shake(served, "/async")

    assert [101, 101] == [unchanged.status, null.status]
    assert "Set-Cookie" not in unchanged.headers
    assert "Set-Cookie" not in null.headers


async def test_session_that_is_emptied_is_deleted() -> None:
    """The handshake takes a cookie away, as any answer would."""
    app, _ = app_with(lambda: session.clear())
    cookie = SecureCookieSessionInterface().get_signing_serializer(app).dumps({"user": "Ada"})

    async with serve(app) as served:
        response = await shake(served, "/async", Cookie=f"session={cookie}")

    assert "session=;" in response.headers["Set-Cookie"]


async def test_permanent_session_is_renewed() -> None:
    """``SESSION_REFRESH_EACH_REQUEST`` counts for a handshake too, and warns of nothing."""
    app, _ = app_with(lambda: session.get("user"))
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    cookie = serializer.dumps({"user": "Ada", "_permanent": True})

    async with serve(app, logger=app.log) as served:
        response = await shake(served, "/async", Cookie=f"session={cookie}")

    assert "Expires=" in response.headers["Set-Cookie"]
    assert [] == app.log.lines


@BOTH
async def test_session_written_too_late_is_warned_of_once(path: str) -> None:
    """No answer could carry it; the log names the view, once, and the way out."""
    app = Application()
    app.secret_key = "test"
    aio = AioHTTP(app)

    async def late() -> None:
        session["early"] = 1
        await aio.ws.accept()
        session["late"] = 2

    app.add_url_rule("/async", "async", websocket(late))
    app.add_url_rule("/sync", "sync", websocket(lambda: await_(late())))
    async with serve(app, logger=app.log) as served:
        for _ in range(3):
            async with served.session.ws_connect(path) as socket:
                await socket.receive()

    assert 1 == len(app.log.lines)
    assert app.log.lines[0].startswith(
        f"WARNING the websocket view {path[1:]!r} has changed the session after the handshake"
    )
    assert "Change it before the socket is used" in app.log.lines[0]


async def test_session_kept_by_the_server_is_saved_again_at_the_end() -> None:
    """What such a session is told after the handshake is lost to nobody: no warning."""
    saved: list[dict[str, Any]] = []

    class ServerSide(SecureCookieSessionInterface):
        session_class = type("Kept", (dict,), {"modified": True, "accessed": True})  # type: ignore

        def open_session(self, app: Flask, request: Any) -> Any:
            return self.session_class()

        def save_session(self, app: Flask, session: Any, response: Any) -> None:
            saved.append(dict(session))
            response.set_cookie("sid", "7")

    app = Application()
    app.session_interface = ServerSide()
    aio = AioHTTP(app)

    @app.route("/")
    @websocket
    async def view() -> None:
        session["early"] = 1
        await aio.ws.accept()
        session["late"] = 2

    async with serve(app, logger=app.log) as served, served.session.ws_connect("/") as socket:
        await socket.receive()
        assert "sid=7" in socket._response.headers["Set-Cookie"]

    assert [{"early": 1}, {"early": 1, "late": 2}] == saved
    assert [] == app.log.lines


@BOTH
async def test_accept_takes_a_protocol_and_headers(path: str) -> None:
    """They stand in the handshake; a name may come more than once."""
    app = Application()
    aio = AioHTTP(app)
    headers = [("X-Room", "1"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]

    async def view() -> None:
        await aio.ws.accept("chat.v1", headers)
        await aio.ws.send_str(aio.ws.ws_protocol or "none")

    app.add_url_rule("/async", "async", websocket(view))
    app.add_url_rule("/sync", "sync", websocket(lambda: await_(view())))
    async with (
        serve(app) as served,
        served.session.ws_connect(path, protocols=["chat.v2", "chat.v1"]) as socket,
    ):
        assert "chat.v1" == await socket.receive_str()
        answer = socket._response.headers

    assert ["chat.v1"] == answer.getall("Sec-WebSocket-Protocol")
    assert "1" == answer["X-Room"]
    assert ["a=1", "b=2"] == answer.getall("Set-Cookie")


async def test_headers_may_be_a_mapping_and_not_everything() -> None:
    """What would break the handshake, or end a line, is the view's error before it: 500."""
    app = Application()
    aio = AioHTTP(app)

    @app.route("/<name>")
    @websocket
    async def view(name: str) -> None:
        value = "x\r\nEvil: 1" if name == "X-Split" else "x"
        await aio.ws.accept(headers={name: value, "Connection": "close"})

    async with serve(app, logger=app.log) as served:
        good = await shake(served, "/X-Good")
        bad = [await shake(served, f"/{n}") for n in ("X-Split", "Sec-WebSocket-Accept", "a b")]

    assert ("x", "upgrade") == (good.headers["X-Good"], good.headers["Connection"])
    assert [500] * 3 == [response.status for response in bad]
    assert 3 == sum("InvalidResponse: " in line for line in app.log.lines)


async def test_protocol_that_the_client_does_not_offer_is_refused() -> None:
    """The client would have to fail the connection (RFC 6455, section 4.1): it gets 400."""
    app = Application()
    aio = AioHTTP(app)

    @app.route("/")
    @websocket
    async def view() -> None:
        await aio.ws.accept("chat")

    async with serve(app, logger=app.log) as served:
        response = await shake(served, "/", **{"Sec-WebSocket-Protocol": "other"})
        assert "this websocket speaks 'chat'" in (await response.text()).replace("&#39;", "'")

    assert 400 == response.status
    assert [] == app.log.lines


async def test_accept_with_wishes_comes_first() -> None:
    """Without arguments it may be called again; with them it is too late, and says so."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    raised: list[BaseException] = []

    @app.route("/")
    @websocket
    async def view() -> None:
        await aio.ws.accept()
        await aio.ws.accept()
        try:
            await aio.ws.accept(headers={"X-Late": "1"})
        except AlreadyAccepted as error:
            raised.append(error)

    async with serve(app) as served, served.session.ws_connect("/") as socket:
        await socket.receive()

    assert 1 == len(raised)
    assert "before anything is sent or received" in str(raised[0])


async def test_after_request_functions_run_once_and_at_the_end() -> None:
    """The handshake does not call them: a hook runs once, and the view has not ended yet."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    steps: list[Any] = []

    @app.after_request
    def after(response: Any) -> Any:
        steps.append(response.status_code)
        response.headers["X-After"] = "1"
        return response

    @app.route("/")
    @websocket
    async def view() -> None:
        await aio.ws.accept()
        steps.append("accepted")

    async with serve(app) as served, served.session.ws_connect("/") as socket:
        await socket.receive()
        assert "X-After" not in socket._response.headers

    assert ["accepted", 101] == steps


@pytest.mark.parametrize("headers", [{"Content-Length": "5"}, {"Transfer-Encoding": "chunked"}])
async def test_handshake_with_a_body_is_refused(headers: dict[str, str]) -> None:
    """Whoever takes the body for frames can be lied to: 400, and the connection ends."""
    app, _ = app_with(lambda: None)
    body = "5\r\nhello\r\n0\r\n\r\n" if "Transfer-Encoding" in headers else "hello"
    fields = "".join(f"{name}: {value}\r\n" for name, value in (HANDSHAKE | headers).items())

    async with serve(app) as served:
        head = f"GET /async HTTP/1.1\r\nHost: x\r\n{fields}\r\n{body}".encode()
        reader, writer = await connect(served, head)
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert 1 == answer.count(b"HTTP/1.1")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("place", ["async", "sync"])
async def test_plain_view_refuses_a_websocket(place: str, method: str) -> None:
    """As Werkzeug's routing has it, under any server: 400, and the connection ends."""
    app = Application()
    AioHTTP(app)

    async def view() -> str:
        return "plain"

    app.add_url_rule("/async", "async", view, methods=["GET", "POST"])
    app.add_url_rule("/sync", "sync", lambda: "plain", methods=["GET", "POST"])
    async with serve(app, logger=app.log) as served:
        response = await served.session.request(method, f"/{place}", headers=HANDSHAKE)
        assert (400, "close") == (response.status, response.headers["Connection"])
        await response.read()

    assert [] == app.log.lines


async def test_upgrade_that_is_required_is_named() -> None:
    """``failure_status_code=426`` says to what (RFC 9110, section 15.5.22)."""
    app = Flask(__name__)
    AioHTTP(app)
    app.add_url_rule("/", "view", websocket(failure_status_code=426)(lambda: None))

    async with serve(app) as served, served.session.get("/") as response:
        assert 426 == response.status
        assert "websocket" == response.headers["Upgrade"]
        assert "upgrade" in ", ".join(response.headers.getall("Connection"))
