"""What all tests share: coroutine tests, programs of the system, and servers."""

from __future__ import annotations

import asyncio
import inspect
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from harness import PATIENCE, Gunicorn


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests on a loop of their own, which they must leave without tasks."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def run() -> None:
        await pyfuncitem.obj(**arguments)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:  # they may be about to end, but nobody helps them
            _, left = await asyncio.wait(left, timeout=PATIENCE)
        assert set() == left

    asyncio.run(run(), debug=True)
    return True


@pytest.fixture(name="require", scope="session")
def _require() -> Callable[[str], str]:
    """Return the path of a program; without it skip, or fail where nothing may be missing."""

    def require(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            give_up(f"{program} is not installed on this machine")
        return path

    return require


def give_up(reason: str) -> NoReturn:
    """Skip a test for want of something on this machine; fail where nothing may be missing."""
    if os.environ.get("FLASK_AIOHTTP_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(name="gunicorn")
def _gunicorn(tmp_path: Path) -> Iterator[Callable[..., Gunicorn]]:
    """Start gunicorn with this worker; whatever a test has started is stopped at its end."""
    started: list[Gunicorn] = []

    def start(application: str, *options: str, **kwargs: Any) -> Gunicorn:
        server = Gunicorn(application, *options, directory=tmp_path, **kwargs)
        started.append(server)
        server.wait_until_listening()
        return server

    yield start
    for server in started:
        server.kill()
