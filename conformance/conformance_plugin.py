"""A pytest plugin: ``werkzeug.test.run_wsgi_app``, the one funnel of all clients, leads through us.

Environment variables tell which way (``CONFORMANCE_MODE``) and where to write what came of each
test (``CONFORMANCE_RESULT``).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import werkzeug.test
from flask import Flask
from in_process import InProcess
from over_http import OverHTTP

from flask_aiohttp._routing import Place
from flask_aiohttp.extension import _async_to_sync as async_to_sync

_WAYS = {
    "loop": lambda: InProcess(threads=False),
    "threads": lambda: InProcess(threads=True),
    "http-loop": lambda: OverHTTP(Place.LOOP),
    "http-threads": lambda: OverHTTP(Place.THREAD),
}

_mode = os.environ["CONFORMANCE_MODE"]
_way: Any = None
_outcomes: dict[str, str] = {}

if _mode != "baseline":
    _way = _WAYS[_mode]()
    # The suites import the function by name: it is replaced before they are collected.
    werkzeug.test.run_wsgi_app = _way.run_wsgi_app

    # Applications that a test asks without a client wait by us as well.
    Flask.async_to_sync = lambda self, function: async_to_sync(function)  # type: ignore


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what came of a test: its worst phase counts."""
    known = _outcomes.get(report.nodeid)
    if known is None or report.failed or (report.when == "call" and known != "failed"):
        _outcomes[report.nodeid] = report.outcome


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Remember a module that cannot be collected."""
    if report.failed:
        _outcomes[report.nodeid] = "failed"


def pytest_sessionfinish() -> None:
    """Write down all of it."""
    result = {"outcomes": _outcomes, "requests": _way.requests if _way else 0}
    Path(os.environ["CONFORMANCE_RESULT"]).write_text(json.dumps(result))
