"""Both worker classes, each with a configuration file of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Gunicorn

OURS = "flask_aiohttp_worker.Worker"

Start = Callable[..., Gunicorn]


@pytest.fixture(name="worker", params=["gthread", OURS], ids=["gthread", "ours"])
def _worker(request: pytest.FixtureRequest) -> str:
    """The worker class: what a setting does under gthread it does under ours."""
    return str(request.param)


@pytest.fixture(name="configured")
def _configured(tmp_path: Path) -> Iterator[Start]:
    """Start gunicorn with the text of a configuration file; by default with our worker."""
    started: list[Gunicorn] = []

    def start(
        text: str,
        *options: str,
        app: str | None = "settings_app:app",
        worker: str = OURS,
        listens: bool = True,
        **kwargs: Any,
    ) -> Gunicorn:
        config = tmp_path / f"gunicorn-{len(started)}.conf.py"
        config.write_text(text)
        server = Gunicorn(
            *([app] if app else []),
            *("--threads=4", "--config", str(config), *options),
            directory=tmp_path,
            worker=worker,
            **kwargs,
        )
        started.append(server)
        if listens:  # and says so where the tests can read it
            server.wait_until_listening()
        return server

    yield start
    for server in started:
        server.kill()
