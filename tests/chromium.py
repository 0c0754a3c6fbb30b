"""A real browser for tests: Chromium without a window, driven by the DevTools protocol.

The protocol is JSON over a websocket: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from harness import PATIENCE, wait_for

# Without a window, without a sandbox (which root may not have), and without calls to its makers.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-extensions", "--disable-default-apps", "--mute-audio"),
)


class Chromium:
    """The browser's process.

    Args:
        program: Its path.
        directory: For its profile and its log.
    """

    def __init__(self, program: str, directory: Path) -> None:
        profile = directory / "profile"
        self._log = directory / "chromium.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [program, *OPTIONS, "--remote-debugging-port=0", f"--user-data-dir={profile}"],
                stdout=log,
                stderr=log,
            )
        self._port_file = profile / "DevToolsActivePort"

    @property
    def devtools(self) -> str:
        """The address of the browser's own end of the protocol."""

        def lines() -> list[str]:
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            with contextlib.suppress(FileNotFoundError):
                return self._port_file.read_text().splitlines()[:2]
            return []

        port, path = wait_for(lambda: len(lines()) == 2 and lines(), "the browser's start")
        return f"ws://127.0.0.1:{port}{path}"

    def stop(self) -> None:
        """End it and its children."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Browser:
    """A connection to the browser. Each window of it has cookies of its own."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

        # The calls under way by their numbers, and the pages by their sessions.
        self._calls: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        future = self._calls[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json(message)
        return await asyncio.wait_for(future, PATIENCE)

    async def window(self) -> Page:
        """Open a window with an empty page, as of a browser of its own."""
        context = await self.call("Target.createBrowserContext")
        context_id = context["browserContextId"]
        target = await self.call(
            "Target.createTarget", url="about:blank", browserContextId=context_id
        )
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"], context_id)
        for domain in ("Page", "Runtime", "Log"):
            await page.call(f"{domain}.enable")
        return page

    async def read(self) -> None:
        """Hand out what the browser says, until the connection ends."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                future = self._calls.pop(said["id"])
                if future.done():
                    continue
                if "error" in said:
                    future.set_exception(RuntimeError(said["error"]["message"]))
                else:
                    future.set_result(said["result"])
            elif page := self._pages.get(said.get("sessionId", "")):
                page.note(said["method"], said["params"])


class Page:
    """A page in a window of its own."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self._context = context
        self._loaded = asyncio.Event()
        self._closed = False

        # What the page could not do: exceptions that nobody caught, requests that failed.
        self.errors: list[str] = []

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol for this page."""
        return await self._browser.call(method, self._session, **params)

    async def open(self, url: str) -> None:
        """Load *url*, with all that belongs to it."""
        self._loaded.clear()
        found = await self.call("Page.navigate", url=url)
        assert "errorText" not in found, f"{url}: {found['errorText']}"
        await asyncio.wait_for(self._loaded.wait(), PATIENCE)

    async def run(self, script: str) -> Any:
        """Run *script* as the body of an async function, and return what that returns."""
        found = await self.call(
            "Runtime.evaluate",
            expression=f"(async () => {{ {script} }})()",
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Wait until an expression is true in the page, and return its value."""
        return await self.run(f"""
            while (true) {{
                const value = {expression};
                if (value) return value;
                await new Promise((resolve) => setTimeout(resolve, 10));
            }}
        """)

    async def close(self) -> None:
        """Close the window as a user would: the page is asked nothing. Idempotent."""
        if not self._closed:
            self._closed = True
            await self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    def note(self, event: str, params: dict[str, Any]) -> None:
        """Take note of what the browser tells of the page."""
        if event == "Page.loadEventFired":
            self._loaded.set()
        elif event == "Runtime.exceptionThrown":
            self.errors.append(params["exceptionDetails"]["text"])
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])


@contextlib.asynccontextmanager
async def connect(chromium: Chromium) -> AsyncIterator[Browser]:
    """Connect to the browser; its windows are closed at the end."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(chromium.devtools, max_msg_size=0) as socket,
    ):
        browser = Browser(socket)
        reading = asyncio.create_task(browser.read(), name="read from the browser")
        try:
            yield browser
            for page in browser._pages.values():
                await page.close()
        finally:
            reading.cancel()
            await asyncio.wait({reading})
