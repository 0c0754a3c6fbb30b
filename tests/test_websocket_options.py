"""Options belong to a route, defaults to the application and its server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import WSCloseCode, WSMsgType
from flask import Flask
from harness import Served, serve
from sockets import HANDSHAKE
from watching import Application, both_places

from flask_aiohttp import AioHTTP, InvalidSetting, await_, websocket
from flask_aiohttp._settings import ServerSettings
from flask_aiohttp._websocket_options import default_options, parse_options


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("protocols", "chat", ("chat",)),
        ("protocols", ["chat.v2", "chat.v1"], ("chat.v2", "chat.v1")),
        ("heartbeat", 5, 5.0),
        ("heartbeat", None, 0.0),
        ("timeout", 0.5, 0.5),
        ("timeout", None, 0.0),
        ("max_msg_size", 0, 0),
        ("compress", True, True),
        ("origins", "*", ("*",)),
        ("origins", {"https://Example.org/"}, ("https://example.org",)),
        ("close_timeout", 3, 3.0),
    ],
)
def test_option_is_taken_in_the_forms_that_people_write(
    option: str, value: object, expected: object
) -> None:
    """One string stands for a list of one, and None for never."""
    assert {option: expected} == parse_options({option: value})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("protocols", ["a b"]),
        ("protocols", [""]),
        ("protocols", 5),
        ("heartbeat", -1),
        ("heartbeat", "often"),
        ("timeout", float("inf")),
        ("timeout", True),
        ("max_msg_size", 1.5),
        ("max_msg_size", -1),
        ("compress", "yes"),
        ("origins", "example.org"),
        ("close_timeout", None),
        ("close_timeout", 0),
    ],
)
def test_option_that_cannot_be_used_is_refused_where_it_is_written(
    option: str, value: object
) -> None:
    """Not at the first request: the decorator says which option, and what it takes."""
    with pytest.raises(InvalidSetting, match=rf"^@websocket\({option}=...\) is .* but must be "):
        websocket(**{option: value})


def test_unknown_option_is_refused_with_the_known_ones() -> None:
    """A misspelt option would have no effect, and nobody would notice."""
    with pytest.raises(TypeError, match="no option 'max_size'; there are close_timeout, compress"):
        websocket(max_size=5)


def test_defaults_are_those_of_the_server() -> None:
    """Pings every 25 seconds, no compression, no foreign origin, and gunicorn's largest message."""
    defaults = default_options(ServerSettings(websocket_max_message_size=7))

    assert (25.0, False, (), 7) == (
        defaults.heartbeat,
        defaults.compress,
        defaults.origins,
        defaults.max_msg_size,
    )
    assert None is defaults.for_aiohttp["receive_timeout"]


def app_with_routes() -> Application:
    app = Application()
    aio = AioHTTP(app)

    async def echo() -> None:
        async for message in aio.ws:
            await aio.ws.send_str(message.data)

    def add(name: str, **options: Any) -> None:
        app.add_url_rule(f"/{name}", name, websocket(**options)(echo))

    add("default")
    add("small", max_msg_size=10)
    add("compressed", compress=True)
    add("open", origins="*")
    add("closed", origins=())
    add("chat", protocols=["v2", "v1"])
    add("quick", timeout=0.01)
    add("busy", heartbeat=0.05)
    return app


async def closed_with(served: Served, path: str, text: str) -> Any:
    """Send *text*; return the code with which the socket closes, or the answer."""
    async with served.session.ws_connect(path) as socket:
        await socket.send_str(text)
        return (await socket.receive()).data


async def test_route_has_its_own_largest_message() -> None:
    """The limit of one route is not that of the next; the configuration's is for all others."""
    app = app_with_routes()
    app.config["AIOHTTP_WEBSOCKET_MAX_MSG_SIZE"] = 20

    async with serve(app) as served:
        sent = [("/small", 9), ("/small", 10), ("/default", 19), ("/default", 20)]
        got = [await closed_with(served, path, "x" * size) for path, size in sent]

    too_big = WSCloseCode.MESSAGE_TOO_BIG
    assert ["x" * 9, too_big, "x" * 19, too_big] == got


async def test_compression_is_only_where_it_is_asked_for() -> None:
    """Each side may want it; it costs memory, so it is off unless route or configuration ask."""
    app = app_with_routes()

    async with serve(app) as served:
        agreed = [await compression(served, path) for path in ("/default", "/compressed")]
    app.config["AIOHTTP_WEBSOCKET_COMPRESS"] = True
    async with serve(app) as served:
        agreed += [await compression(served, "/default")]

    assert [False, True, True] == agreed


async def compression(served: Served, path: str) -> bool:
    async with served.session.ws_connect(path, compress=15) as socket:
        await socket.send_str("zwölf" * 100)
        assert "zwölf" * 100 == await socket.receive_str()
        return "permessage-deflate" in socket._response.headers.get("Sec-WebSocket-Extensions", "")


async def test_route_has_its_own_origins() -> None:
    """They take the place of the configuration's, and the request's own origin always counts."""
    app = app_with_routes()
    app.config["AIOHTTP_WEBSOCKET_ORIGINS"] = "https://example.org"
    origins = ("https://example.org", "https://example.net", "http://localhost")

    async with serve(app) as served:
        statuses: dict[str, list[int]] = {"/default": [], "/open": [], "/closed": []}
        for path, got in statuses.items():
            for origin in origins:
                got.append(await status_for(served, path, origin))

    assert {
        "/default": [101, 403, 101],
        "/open": [101, 101, 101],
        "/closed": [403, 403, 101],
    } == statuses


async def status_for(served: Served, path: str, origin: str) -> int:
    headers = HANDSHAKE | {"Host": "localhost", "Origin": origin}
    async with served.session.get(path, headers=headers) as response:
        response.close()
        return response.status


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["v1", "v2"], "v1"), (["v3", "v2"], "v2"), (["v3"], None), ([], None)]
)
async def test_first_protocol_that_both_speak_is_chosen(
    offered: list[str], chosen: str | None
) -> None:
    """In the client's order; without a common one the socket opens and speaks none."""
    app = app_with_routes()

    async with (
        serve(app) as served,
        served.session.ws_connect("/chat", protocols=offered) as socket,
    ):
        assert chosen == socket.protocol


async def test_client_that_says_nothing_in_time_is_closed_without_an_error() -> None:
    """With ``timeout`` the view is told, and need not do anything: 1008, and no traceback."""
    app = app_with_routes()

    async with serve(app, logger=app.log) as served, served.session.ws_connect("/quick") as socket:
        last = await socket.receive()

    assert (WSMsgType.CLOSE, WSCloseCode.POLICY_VIOLATION) == (last.type, last.data)
    assert [] == app.log.lines


@both_places
async def test_view_may_catch_the_timeout(path: str) -> None:
    """Under both names that it has had in Python, with the seconds that were waited."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    caught: list[str] = []

    async def view() -> None:
        for error in (TimeoutError, asyncio.TimeoutError):
            try:
                await aio.ws.receive_str(timeout=0.01)
            except error as timeout:
                caught.append(str(timeout))

    app.add_url_rule("/async", "async", websocket(view))
    app.add_url_rule("/sync", "sync", websocket(lambda: await_(view())))
    async with serve(app) as served, served.session.ws_connect(path) as socket:
        last = await socket.receive()

    assert ["no websocket message came for 0.01 seconds"] * 2 == caught
    assert WSCloseCode.OK == last.data


async def test_heartbeat_finds_dead_peers() -> None:
    """A client that does not answer pings is dropped, and that is no error."""
    app = app_with_routes()

    async with (
        serve(app, logger=app.log) as served,
        served.session.ws_connect("/busy", autoping=False) as socket,
    ):
        types = [(await socket.receive()).type for _ in range(2)]

    assert WSMsgType.PING is types[0]
    assert types[1] in (WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.PING)
    assert [] == app.log.of("ERROR")


async def test_option_of_a_route_keeps_the_fields_of_the_handshake() -> None:
    """The Server field is that of the settings on a route with options too."""
    app = app_with_routes()

    async with (
        serve(app, server="test") as served,
        served.session.get("/chat", headers=HANDSHAKE) as response,
    ):
        response.close()
        assert ["test"] == response.headers.getall("Server")


async def test_socket_opened_by_a_hook_has_the_defaults() -> None:
    """The view's options come too late for it, and change nothing."""
    app = app_with_routes()
    aio = AioHTTP(app)

    @app.before_request
    async def early() -> None:
        await aio.ws.accept()

    async with serve(app) as served:
        assert "x" * 11 == await closed_with(served, "/small", "x" * 11)
