"""A test of a websocket never hangs, and sees what goes wrong where it goes wrong."""

from __future__ import annotations

import asyncio
import threading

import pytest
from flask import Flask
from harness import PATIENCE
from watching import Log

from flask_aiohttp import (
    AioHTTP,
    WebSocketEnded,
    WebSocketRejected,
    WebSocketTimeout,
    await_,
    websocket,
)
from flask_aiohttp.testing import FlaskAioHTTPClient

# Seconds of a deadline that is meant to pass.
SHORT = 0.05


class App(Flask):
    """An application whose sockets go wrong."""

    def __init__(self) -> None:
        super().__init__(__name__)
        self.logger = self.log = Log()
        self.testing = True
        self.ended = threading.Event()
        aio = AioHTTP(self)

        @self.route("/before")
        @websocket
        async def before() -> None:
            raise LookupError("before")

        @self.route("/after")
        @websocket
        async def after() -> None:
            raise LookupError(await aio.ws.receive_str())

        @self.route("/after-sync")
        @websocket
        def after_sync() -> None:
            raise LookupError(await_(aio.ws.receive_str()))

        @self.route("/at-the-end")
        @websocket
        async def at_the_end() -> None:
            await aio.ws.receive()
            raise LookupError("at the end")

        @self.route("/silent")
        @websocket
        async def silent() -> None:
            await aio.ws.receive()

        @self.route("/never-shakes-hands")
        @websocket
        async def never_shakes_hands() -> None:
            await self.stand_still()

        @self.route("/never-ends")
        @websocket
        async def never_ends() -> None:
            await aio.ws.accept()
            await self.stand_still()

        @self.route("/never-ends-after-the-close")
        @websocket
        async def never_ends_after_the_close() -> None:
            await aio.ws.receive()
            await self.stand_still()

    async def stand_still(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()

    def client(self) -> FlaskAioHTTPClient:
        client = self.test_client()
        assert isinstance(client, FlaskAioHTTPClient)
        return client


@pytest.fixture(name="app")
def _app() -> App:
    return App()


def test_error_before_the_handshake_is_raised(app: App) -> None:
    """As by ``client.get()``, it reaches the test with its own type, and no log."""
    with pytest.raises(LookupError, match="before"):
        app.client().websocket("/before")

    assert [] == app.log.lines


@pytest.mark.parametrize("path", ["/after", "/after-sync"])
@pytest.mark.parametrize("use", ["receive", "receive_str", "close"])
def test_error_after_the_handshake_is_raised_where_the_socket_is_used(
    app: App, path: str, use: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever waits for a message, or ends the block, is told; once is enough."""
    ws = app.client().websocket(path)
    ws.send_str("after")
    with pytest.raises(LookupError, match="after"):
        getattr(ws, use)()
    ws.close()

    assert [] == app.log.lines + caplog.records


def test_error_after_the_last_message_is_raised_at_the_end_of_the_block(app: App) -> None:
    """A view that fails while it cleans up fails the test."""
    with pytest.raises(LookupError, match="at the end"), app.client().websocket("/at-the-end"):
        pass


def test_failed_assertion_of_the_test_comes_first(app: App) -> None:
    """What the view raises because of it does not hide it."""
    with pytest.raises(ZeroDivisionError), app.client().websocket("/at-the-end"):
        raise ZeroDivisionError


def test_without_propagation_the_test_sees_what_a_client_sees(app: App) -> None:
    """500 before the handshake and 1011 after it, and one traceback in the application's log."""
    app.testing = False
    with pytest.raises(WebSocketRejected) as rejected:
        app.client().websocket("/before")
    with app.client().websocket("/after") as ws:
        ws.send_str("after")
        with pytest.raises(WebSocketEnded) as closed:
            ws.receive_str()

    assert (500, 1011) == (rejected.value.response.status_code, closed.value.code)
    assert 2 == len(app.log.of("ERROR"))


def test_view_that_says_nothing_is_named(app: App) -> None:
    """A wait for a message ends, and the socket can still be used."""
    with app.client().websocket("/silent") as ws:
        with pytest.raises(WebSocketTimeout, match=r"'/silent' .*: a message, within 0.05 s"):
            ws.receive_str(timeout=SHORT)
        ws.send_str("?")


def test_view_that_never_shakes_hands_is_named_and_ended(app: App) -> None:
    """The wait for the handshake ends, and with it the view."""
    with pytest.raises(WebSocketTimeout, match=r"'/never-shakes-hands' .*: an answer, within"):
        app.client().websocket("/never-shakes-hands", timeout=SHORT)

    assert app.ended.wait(PATIENCE)


@pytest.mark.parametrize("path", ["/never-ends", "/never-ends-after-the-close"])
def test_view_that_never_ends_is_named_and_ended(app: App, path: str) -> None:
    """The end of the block waits no longer than it must."""
    ws = app.client().websocket(path, timeout=SHORT)
    with pytest.raises(WebSocketTimeout, match=f"'{path}' .*: the end of its view after the close"):
        ws.close()

    assert app.ended.wait(PATIENCE)
