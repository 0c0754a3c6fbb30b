"""A page of another origin opens no websocket, unless it is told that it may."""

from __future__ import annotations

import aiohttp
import pytest
from flask import Flask
from harness import serve
from watching import Application
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_aiohttp import AioHTTP, InvalidSetting, websocket
from flask_aiohttp._origin import origin_is_allowed


@pytest.mark.parametrize(
    "origin, scheme, host, expected",
    [
        (None, "http", "example.org", True),
        ("http://example.org", "http", "example.org", True),
        ("http://EXAMPLE.org", "http", "example.ORG", True),
        ("http://example.org:80", "http", "example.org", True),
        ("http://example.org", "http", "example.org:80", True),
        ("https://example.org", "https", "example.org:443", True),
        ("http://example.org:8000", "http", "example.org:8000", True),
        ("http://[::1]:8000", "http", "[::1]:8000", True),
        ("http://example.org:8000", "http", "example.org", False),
        ("https://example.org", "http", "example.org", False),
        ("http://evil.example.org", "http", "example.org", False),
        ("http://example.org.evil.net", "http", "example.org", False),
        ("http://example.org@evil.net", "http", "example.org", False),
        ("null", "http", "example.org", False),
        ("", "http", "example.org", False),
        ("", "http", "", False),
        ("http://example.org:port", "http", "example.org", False),
        ("http://[::1", "http", "[::1", False),
        ("http://", "http", "", False),
    ],
)
def test_own_origin_is_that_of_the_request(
    origin: str | None, scheme: str, host: str, expected: bool
) -> None:
    """An origin is the request's own if scheme, host and port are, and no other way."""
    environ = {"wsgi.url_scheme": scheme, "HTTP_HOST": host}
    if origin is not None:
        environ["HTTP_ORIGIN"] = origin

    assert expected is origin_is_allowed(environ, ())


def make_app() -> Application:
    app = Application()
    aio = AioHTTP(app)

    @app.route("/")
    @websocket
    async def view() -> None:
        await aio.ws.send_str("hello")

    return app


async def knock(app: Flask, headers: dict[str, str]) -> int:
    """Return 101 if a websocket opens, else the status of the refusal."""
    async with serve(app) as served:
        try:
            async with served.session.ws_connect("/", headers=headers) as socket:
                assert "hello" == await socket.receive_str()
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status


@pytest.mark.parametrize(
    "allowed, origin, status",
    [
        (None, None, 101),
        (None, "http://localhost", 101),
        (None, "https://example.org", 403),
        ("https://example.org", "https://example.org", 101),
        ("https://Example.org/", "https://example.org", 101),
        (["https://example.org", "https://example.net"], "https://example.net", 101),
        (["https://example.org"], "https://example.net", 403),
        (["https://example.org"], "http://localhost", 101),
        ("*", "null", 101),
    ],
)
async def test_configuration_lists_origins_besides_the_own_one(
    allowed: str | list[str] | None, origin: str | None, status: int
) -> None:
    """``AIOHTTP_WEBSOCKET_ORIGINS`` adds origins; the others are refused with 403."""
    app = make_app()
    if allowed is not None:
        app.config["AIOHTTP_WEBSOCKET_ORIGINS"] = allowed

    headers = {"Host": "localhost"} | ({} if origin is None else {"Origin": origin})

    assert status == await knock(app, headers)


@pytest.mark.parametrize("origin, status", [("https://example.org", 101), ("http://internal", 403)])
async def test_origin_behind_a_proxy_is_that_of_the_proxy(origin: str, status: int) -> None:
    """With ``ProxyFix`` the request's own origin is the one that the browser sees."""
    app = make_app()
    app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=1, x_host=1)
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "example.org"}

    assert status == await knock(app, {"Host": "internal", "Origin": origin, **forwarded})


async def test_refusal_says_what_to_set_and_runs_no_view_to_its_end() -> None:
    """The refused view stops where it first uses the socket, and the answer names the setting."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    steps: list[str] = []

    @app.route("/")
    @websocket
    async def view() -> None:
        steps.append("before")
        await aio.ws.receive()
        steps.append("after")

    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "https://evil.example"}
    async with serve(app) as served, served.session.get("/", headers=headers) as response:
        assert 403 == response.status
        assert "AIOHTTP_WEBSOCKET_ORIGINS" in await response.text()
    assert ["before"] == steps


@pytest.mark.parametrize("value", ["example.org", ["*", 1], 5, {"https://example.org": True}])
async def test_setting_that_is_no_list_of_origins_stops_the_start(value: object) -> None:
    """A value that could never match is refused at the start."""
    app = make_app()
    app.config["AIOHTTP_WEBSOCKET_ORIGINS"] = value

    with pytest.raises(InvalidSetting, match="AIOHTTP_WEBSOCKET_ORIGINS"):
        async with serve(app):
            raise AssertionError("started")
