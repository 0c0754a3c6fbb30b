"""The examples of 2015 run in Flask's test client and by ``flask run``, without websockets."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from types import ModuleType

import aiohttp
import pytest
from flask.testing import FlaskClient
from harness import APPS

from flask_aiohttp import WebSocketUnsupported, await_

from .conftest import Running

FORMS = ("", "/yield")
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}
VIEWS = [("/late", "Sorry, I'm late!"), ("/param?a=Hello&b=World", "Hello World")]


@pytest.fixture(name="client")
def _client(api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """Return the test client of an application of its own."""
    monkeypatch.syspath_prepend(str(APPS))
    monkeypatch.delitem(importlib.import_module("sys").modules, "classic", raising=False)
    classic: ModuleType = importlib.import_module("classic")
    classic.app.config.update(DELAY=0.01, API=api)
    with classic.app.test_client() as client:
        yield client
    await_(classic.close_session())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path, text", VIEWS)
def test_test_client_gets_what_a_server_sends(
    client: FlaskClient, form: str, path: str, text: str
) -> None:
    """Flask's test client gets the late response and the streamed answer."""
    response = client.get(form + path)

    assert (200, text) == (response.status_code, response.text)


def test_calls_in_the_test_client_share_one_session(client: FlaskClient) -> None:
    """A client session lives on between two requests of the test client."""
    callers = {client.get(f"{form}/api").text for form in FORMS for _ in range(3)}

    assert 1 == len(callers)


@pytest.mark.parametrize("form", FORMS)
def test_websocket_in_the_test_client_says_what_it_needs(client: FlaskClient, form: str) -> None:
    """A websocket request in the test client fails with the server's name and what to do."""
    client.application.testing = True

    with pytest.raises(WebSocketUnsupported, match="run the application with 'gunicorn myapp:app"):
        client.get(f"{form}/echo", headers=UPGRADE)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path, status", [("/echo", 400), ("/hello/Ada", 404)])
def test_plain_request_in_the_test_client_gets_the_failure_status(
    client: FlaskClient, form: str, path: str, status: int
) -> None:
    """A websocket view tells a plain request the same as under a server."""
    assert status == client.get(form + path).status_code


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path, text", VIEWS)
async def test_flask_run_answers(flask_run: Running, form: str, path: str, text: str) -> None:
    """``flask run`` sends the late response and the streamed answer."""
    async with (
        aiohttp.ClientSession(flask_run.url) as session,
        session.get(form + path) as response,
    ):
        assert 200 == response.status
        assert text == await response.text()


async def test_calls_under_flask_run_share_one_session(flask_run: Running) -> None:
    """A client session lives on between two requests, each in a thread of its own."""
    callers = set()

    async with aiohttp.ClientSession(flask_run.url) as session:
        for form in FORMS * 3:
            async with session.get(f"{form}/api") as response:
                callers.add(await response.text())

    assert 1 == len(callers)


async def test_websocket_under_flask_run_says_what_it_needs(flask_run: Running) -> None:
    """A websocket request under ``flask run`` fails, and its log says what to do."""
    async with aiohttp.ClientSession(flask_run.url) as session:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="500"):
            await session.ws_connect("/echo")

    assert "the websocket route '/echo' cannot be served by Werkzeug/" in flask_run.server.log
    assert "gunicorn myapp:app -k flask_aiohttp_worker.Worker" in flask_run.server.log
