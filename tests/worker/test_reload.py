"""With --reload a change of the code is served, a broken one too."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from harness import Gunicorn, eventually, wait_for

APPLICATION = """
from flask import Flask
from flask_aiohttp import AioHTTP, websocket

app = Flask(__name__)
aio = AioHTTP(app)

@app.route("/")
async def index():
    return "version 1"

@app.route("/ws")
@websocket
async def ws():
    async for message in aio.ws:
        await aio.ws.send_str(message.data)
"""


@pytest.fixture(name="source")
def _source(tmp_path: Path) -> Path:
    path = tmp_path / "changing.py"
    path.write_text(APPLICATION)
    return path


@pytest.fixture(name="server")
def _server(gunicorn: Callable[..., Gunicorn], source: Path) -> Gunicorn:
    server = gunicorn(
        "changing:app",
        *("--reload", "--reload-engine", "poll", "--chdir", str(source.parent)),
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert "version 1" == server.get("/")
    return server


def change(server: Gunicorn, source: Path, text: str) -> None:
    """Write *text*, and wait until the reloader has seen that."""
    before = server.log.count("changing.py modified")
    source.write_text(text)

    def seen() -> bool:
        # Again, in case that the reloader's first look came only now.
        os.utime(source)
        return server.log.count("changing.py modified") > before

    wait_for(seen, f"the reloader:\n{server.log}")


def test_a_change_is_served(server: Gunicorn, source: Path) -> None:
    """The worker that has the old code makes way for one that has the new."""
    change(server, source, APPLICATION.replace("version 1", "version two"))

    wait_for(lambda: server.get("/") == "version two", "the new version")

    assert "ERROR" not in server.log


async def test_a_change_does_not_wait_for_websockets(server: Gunicorn, source: Path) -> None:
    """A page under development keeps its socket open for ever; it is told to come back."""
    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as ws:
        await ws.send_str("hello")
        await ws.receive_str()
        change(server, source, APPLICATION.replace("version 1", "version two"))
        message = await ws.receive()
    await eventually(lambda: server.get("/") == "version two", "the new version")

    assert aiohttp.WSCloseCode.SERVICE_RESTART == message.data


def test_a_syntax_error_is_shown_and_then_mended(server: Gunicorn, source: Path) -> None:
    """Broken code answers with its traceback until it is mended; gunicorn lives on."""
    change(server, source, APPLICATION + "\nthis is no Python\n")
    broken = wait_for(lambda: find(server, "SyntaxError"), "the traceback")
    change(server, source, APPLICATION.replace("version 1", "version three"))
    wait_for(lambda: find(server, "version three"), "the mended version")

    assert "this is no Python" in broken
    assert server.process.poll() is None


def find(server: Gunicorn, text: str) -> str:
    answer = server.request("/")[2]
    return answer if text in answer else ""
