"""A page of another origin cannot open a websocket in the user's name; the demo's own page can."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from chromium import Chromium, connect
from flask import Flask
from harness import Gunicorn, serve

DEMO = Path(__file__).parents[2] / "examples" / "demo"

# Opens a websocket; returns the first message, or the code of the close that came instead.
OPEN = """
    return await new Promise((resolve) => {
        const socket = new WebSocket(%r);
        socket.onmessage = ({data}) => { resolve(data); socket.close(); };
        socket.onclose = ({code}) => resolve(code);
    });
"""

# Fills in the demo's two forms.
JOIN = """
    document.getElementById("chat-name").value = %r;
    document.getElementById("chat-join").requestSubmit();
"""
SAY = """
    document.getElementById("chat-text").value = %r;
    document.getElementById("chat-send").requestSubmit();
"""


@pytest.fixture(name="demo")
def _demo(gunicorn: Callable[..., Gunicorn]) -> Gunicorn:
    return gunicorn("app:app", "--chdir", str(DEMO), "--access-logfile", "-")


@asynccontextmanager
async def another_page() -> AsyncIterator[int]:
    """Serve a page that is not the demo's, and give its port."""
    app = Flask(__name__)
    app.add_url_rule("/", "page", lambda: "<!doctype html><title>another page</title>")
    async with serve(app) as served:
        yield served.port


async def test_page_of_the_demo_opens_its_websocket(chromium: Chromium, demo: Gunicorn) -> None:
    """The browser sends the origin of the page, which is the server's own."""
    async with connect(chromium) as browser:
        page = await browser.window()
        await page.open(demo.url)

        assert '{"serving": ' in await page.run(OPEN % f"ws://127.0.0.1:{demo.port}/chat?name=Ada")
        assert [] == page.errors


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_page_of_another_origin_opens_none(
    chromium: Chromium, demo: Gunicorn, host: str
) -> None:
    """The handshake is refused with 403, before any view has seen the socket."""
    async with connect(chromium) as browser, another_page() as port:
        page = await browser.window()
        await page.open(f"http://{host}:{port}")

        assert 1006 == await page.run(OPEN % f"ws://127.0.0.1:{demo.port}/chat?name=Eve")
        assert ["403"] == [error[-3:] for error in page.errors if "/chat" in error]
    demo.wait_for_log('"GET /chat?name=Eve HTTP/1.1" 403')


async def test_two_windows_chat_in_the_demo(chromium: Chromium, demo: Gunicorn) -> None:
    """What one user writes, the other one reads, and sees that he leaves."""
    async with connect(chromium) as browser:
        ada, bob = [await browser.window() for _ in range(2)]
        for page, name in ((ada, "Ada"), (bob, "Bob")):
            await page.open(demo.url)
            await page.run(JOIN % name)
            await page.until(f"document.body.innerText.includes('{name} joined')")
        await ada.until("document.body.innerText.includes('Bob joined')")

        await bob.run(SAY % "hello & <b>welcome</b>")
        await ada.until("document.body.innerText.includes('hello & <b>welcome</b>')")
        await bob.close()
        await ada.until("document.body.innerText.includes('Bob left')")

        assert [] == ada.errors
