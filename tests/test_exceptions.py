"""Each error says what to do, and keeps the facts from which its sentence is made."""

from __future__ import annotations

import builtins
import copy
import pickle
import re
from dataclasses import dataclass
from typing import Any

import pytest

from flask_aiohttp import exceptions
from flask_aiohttp._disconnected import Disconnected
from flask_aiohttp.exceptions import (
    AlreadyAccepted,
    BridgeRequired,
    ClientGone,
    ConcurrentReceive,
    FlaskAioHTTPError,
    InvalidApplication,
    InvalidResponse,
    InvalidRoom,
    InvalidSetting,
    NotInitialized,
    NoWebSocket,
    RoomMessageTooLarge,
    RoomsUnavailable,
    WebSocketClosed,
    WebSocketEnded,
    WebSocketRejected,
    WebSocketTimeout,
    WebSocketUnsupported,
)


@dataclass
class Refused:
    """In place of Flask's TestResponse."""

    status: str = "401 UNAUTHORIZED"


REFUSED = Refused()

ERRORS: list[tuple[FlaskAioHTTPError, dict[str, Any], str]] = [
    (
        AlreadyAccepted(),
        {},
        "the websocket's handshake is over: call 'await aio.ws.accept(protocol=..., headers=...)' "
        "before anything is sent or received",
    ),
    (
        ConcurrentReceive(),
        {},
        "another task waits for messages of this websocket already: let one task receive, and give "
        "the others what they need, for example through an asyncio.Queue",
    ),
    (
        WebSocketClosed(1000),
        {"code": 1000},
        "this websocket was closed with code 1000: nothing can be sent or received any more. Leave "
        "the loop after 'await aio.ws.close()', or ask 'aio.ws.closed' first",
    ),
    (
        BridgeRequired("<coroutine>"),
        {"awaitable": "<coroutine>"},
        "cannot wait for '<coroutine>' here: this code runs directly on the event loop, which must "
        "not stand still. In an 'async def' function write 'await ...' instead of 'await_(...)', "
        "in a task of your own start the work with 'aio.create_task(...)'. Python 3.10 and 3.11 "
        "also make a task of what is given to 'asyncio.wait_for()'",
    ),
    (
        ClientGone("sending the answer"),
        {"what": "sending the answer"},
        "the client closed the connection while the server was sending the answer",
    ),
    (
        InvalidResponse("its status is not like '200 OK'"),
        {"problem": "its status is not like '200 OK'"},
        "the application's answer cannot be sent: its status is not like '200 OK'",
    ),
    (
        NoWebSocket("GET", "/chat"),
        {"method": "GET", "path": "/chat"},
        "'GET /chat' is not a websocket request: use aio.ws only in a view decorated with "
        "@websocket, or ask has_websocket() first",
    ),
    (
        WebSocketUnsupported("/chat", "gunicorn/27.0.1"),
        {"path": "/chat", "server": "gunicorn/27.0.1"},
        "the websocket route '/chat' cannot be served by gunicorn/27.0.1: run the application with "
        "'gunicorn myapp:app -k flask_aiohttp_worker.Worker', or with 'aio.run(app)' while "
        "developing",
    ),
    (
        WebSocketRejected("/chat", REFUSED),
        {"path": "/chat", "response": REFUSED},
        "the websocket '/chat' was refused with '401 UNAUTHORIZED': the error's 'response' has the "
        "answer",
    ),
    (
        WebSocketEnded(4001, "enough"),
        {"code": 4001, "reason": "enough"},
        "the websocket has been closed with code 4001 and 'enough': use receive() where a test "
        "expects the end",
    ),
    (
        WebSocketTimeout("/chat", "a message", 2.5),
        {"path": "/chat", "what": "a message", "seconds": 2.5},
        "the websocket '/chat' was waited for in vain: a message, within 2.5 s; 'timeout=' gives "
        "it longer",
    ),
    (
        InvalidRoom("", "empty"),
        {"room": "", "problem": "empty"},
        "'' cannot name a room: it is empty",
    ),
    (
        RoomMessageTooLarge(11, 10),
        {"size": 11, "limit": 10},
        "a message of 11 bytes is too large for a room, which passes on 10: send where it can be "
        "fetched instead",
    ),
    (
        RoomsUnavailable(),
        {"url": None},
        "this process is no worker, and nobody could hear what is sent here: set "
        "AIOHTTP_ROOMS_URL to a Redis server, for the workers too",
    ),
    (
        RoomsUnavailable("redis://example.org"),
        {"url": "redis://example.org"},
        "no worker can be reached: redis://example.org does not answer",
    ),
    (
        NotInitialized("<Flask 'shop'>"),
        {"app": "<Flask 'shop'>"},
        "\"<Flask 'shop'>\" is not initialized for AioHTTP: call 'aio.init_app(app)' first",
    ),
    (
        NotInitialized(),
        {"app": None},
        "there is no Flask application yet: call 'aio.init_app(app)' first",
    ),
    (InvalidApplication("write this"), {"problem": "write this"}, "write this"),
    (
        InvalidSetting("AIOHTTP_THREADS", 0, "a whole number, at least 1"),
        {"name": "AIOHTTP_THREADS", "value": 0, "expected": "a whole number, at least 1"},
        "AIOHTTP_THREADS is 0, but must be a whole number, at least 1",
    ),
]


@pytest.mark.parametrize(
    ("error", "facts", "sentence"), ERRORS, ids=[type(error).__name__ for error, *_ in ERRORS]
)
def test_an_error_says_what_happened_and_what_to_do(
    error: FlaskAioHTTPError, facts: dict[str, Any], sentence: str
) -> None:
    """The facts are attributes, and the sentence is made of them."""
    assert sentence == str(error)
    assert facts == vars(error)


@pytest.mark.parametrize("error", [error for error, *_ in ERRORS], ids=lambda e: type(e).__name__)
def test_an_error_survives_a_copy(error: FlaskAioHTTPError) -> None:
    """Task queues and multiprocessing send errors between processes."""
    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(error) is type(copied)
        assert (str(error), vars(error)) == (str(copied), vars(copied))


def test_the_tree_is_as_the_docstring_draws_it() -> None:
    """Each class is in the picture, below the base and beside the builtin that it also is."""
    drawn = dict(re.findall(r"^[├└]── (\w+) +\((\w+)\)", exceptions.__doc__ or "", re.MULTILINE))
    classes = {name: getattr(exceptions, name) for name in exceptions.__all__}
    del classes["FlaskAioHTTPError"]

    assert {
        name: (FlaskAioHTTPError, getattr(builtins, builtin)) for name, builtin in drawn.items()
    } == {name: error.__bases__ for name, error in classes.items()}


def test_a_client_that_left_is_known_to_werkzeug_too() -> None:
    """Flask takes it for a bad request, not for an error of the application."""
    error = Disconnected("reading the request body")

    assert 400 == error.code
    assert isinstance(error, ClientGone)
    assert error.what in str(error)
