"""Hooks that do nothing cost nothing."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from flask_aiohttp_worker._hooks import GunicornHooks, request_hooks


def worker(**settings: Any) -> SimpleNamespace:
    cfg = Config()
    for name, value in settings.items():
        cfg.set(name, value)
    error_log = logging.getLogger("flask_aiohttp_worker.tests")
    error_log.setLevel(logging.DEBUG if cfg.loglevel == "debug" else logging.INFO)
    return SimpleNamespace(cfg=cfg, log=SimpleNamespace(error_log=error_log))


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
