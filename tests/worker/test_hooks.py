"""What is made of gunicorn's settings at the start: hooks that do nothing cost nothing."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from flask_aiohttp_worker._hooks import GunicornHooks, request_hooks
from flask_aiohttp_worker._settings import from_gunicorn


def worker(**settings: Any) -> SimpleNamespace:
    cfg = Config()
    for name, value in settings.items():
        cfg.set(name, value)
    error_log = logging.getLogger("flask_aiohttp_worker.tests")
    error_log.setLevel(logging.DEBUG if cfg.loglevel == "debug" else logging.INFO)
    return SimpleNamespace(cfg=cfg, log=SimpleNamespace(error_log=error_log))


def test_the_grace_period_of_views_without_clients_is_gunicorns() -> None:
    """Seconds that no test would want to wait for."""
    given = worker(asgi_disconnect_grace_period=7)
    given.log = Logger.__new__(Logger)  # one that writes nothing
    given.log.cfg, given.log.error_log = given.cfg, logging.getLogger("flask_aiohttp_worker.tests")

    assert 7 == from_gunicorn(given).disconnect_grace


def test_the_defaults_are_left_out() -> None:
    """There is nothing to call for each request."""
    assert request_hooks(worker()) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"pre_request": lambda worker, req: None},
        {"post_request": lambda worker, req: None},
        {"loglevel": "debug"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_hook_that_does_something_is_called(settings: dict[str, Any]) -> None:
    """Any hook of the configuration's own; the default one only where its line is written."""
    assert isinstance(request_hooks(worker(**settings)), GunicornHooks)
