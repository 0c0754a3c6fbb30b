"""Two windows of a real browser, served by different workers, chat with each other."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from chromium import Chromium, connect
from harness import Gunicorn

from .test_origins import DEMO, JOIN, SAY

HEARS = "document.getElementById('chat-log').innerText.includes(%r)"
STATUS = "return document.getElementById('chat-status').textContent"


async def test_windows_of_different_workers_chat(
    chromium: Chromium, gunicorn: Callable[..., Gunicorn]
) -> None:
    """What one user writes, the other one reads, whichever worker serves whom; the page says it."""
    demo = gunicorn("app:app", "--chdir", str(DEMO), "--workers", "2")
    pids = set(demo.wait_for_workers(2))
    async with connect(chromium) as browser:
        windows: dict[int, Any] = {}
        while set(windows) != pids:
            page = await browser.window()
            name = f"User {id(page)}"
            await page.open(demo.url)
            await page.run(JOIN % name)
            await page.until(HEARS % f"{name} joined")
            served_by = re.match(r"Worker (\d+) serves", await page.run(STATUS))
            assert served_by is not None
            windows[int(served_by[1])] = page
        ada, bob = windows.values()

        await bob.run(SAY % "hello & <b>welcome</b>")
        await ada.until(HEARS % "hello & <b>welcome</b>")
        await ada.run(SAY % "hello yourself")
        await bob.until(HEARS % "hello yourself")

        assert [] == ada.errors == bob.errors
