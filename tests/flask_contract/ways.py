"""One application, asked in each of the ways in which it may be run.

The place of a request is only foretold, and the prediction may be wrong. So the application is
run whole in each place, whatever its views are, besides being run without this project's server.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from harness import PATIENCE, serve
from werkzeug.serving import make_server

from flask_aiohttp import AioHTTP
from flask_aiohttp._environ import Environ
from flask_aiohttp._routing import Place, Router
from flask_aiohttp._service import SERVICE

# In greenlets on the loop; in threads; under Werkzeug's server; in Flask's test client.
WAYS = ("loop", "threads", "werkzeug", "test_client")


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str] = field(compare=False)
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Asks one running application.

    Args:
        ask: Sends one request and blocks until it is answered.
        port: Where the application listens, if it does.
    """

    def __init__(self, ask: Callable[..., Answer], port: int = 0) -> None:
        self._ask = ask
        self.port = port

    async def __call__(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        return await asyncio.to_thread(self._ask, path, method, headers or {}, body)


@contextlib.asynccontextmanager
async def running(app: Flask, way: str) -> AsyncIterator[Client]:
    """Run *app*, and yield a client of it.

    At the end of the block each request has ended, teardown included.
    """
    if "aiohttp" not in app.extensions:
        AioHTTP(app)
    if way == "test_client":
        yield _test_client(app)
    elif way == "werkzeug":
        async with _under_werkzeug(app) as port:
            yield _client_of_port(port)
    else:
        async with serve(app) as served:
            place = Place.LOOP if way == "loop" else Place.THREAD
            app.aiohttp_app[SERVICE].handler._router = Everywhere(app, place)
            yield _client_of_port(served.port)


class Everywhere(Router):
    """A prediction that is the same for each request, right or wrong."""

    def __init__(self, app: Flask, place: Place) -> None:
        super().__init__(app)
        self._everywhere = place

    def place(self, environ: Environ, websocket: bool) -> Place:
        return self._everywhere


@contextlib.asynccontextmanager
async def _under_werkzeug(app: Flask) -> AsyncIterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = False  # so that its end waits for the requests
    server.log = lambda *args: None
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.port
    finally:
        await asyncio.to_thread(server.shutdown)
        await asyncio.to_thread(server.server_close)
        await asyncio.to_thread(thread.join)


def _client_of_port(port: int) -> Client:
    def ask(path: str, method: str, headers: dict[str, str], body: bytes | None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Host": "localhost", **headers})
            response = connection.getresponse()
            return Answer(response.status, _fields(response.getheaders()), response.read())

    return Client(ask, port)


def _test_client(app: Flask) -> Client:
    def ask(path: str, method: str, headers: dict[str, str], body: bytes | None) -> Answer:
        client = app.test_client(use_cookies=False)
        with client.open(path, method=method, headers=headers, data=body) as response:
            return Answer(response.status_code, _fields(response.headers), response.get_data())

    return Client(ask)


def _fields(pairs: Any) -> dict[str, str]:
    """Return the fields of a head; lines of the same name are joined."""
    fields: dict[str, str] = {}
    for name, value in pairs:
        name = name.lower()
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields
