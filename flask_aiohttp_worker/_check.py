"""What a configuration asks for in vain: refused, or named in one warning."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from typing import Any

from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from gunicorn.config import make_settings

from ._table import SETTINGS, Who

__all__ = ("describe", "refusals", "warnings")

_DEFAULTS = make_settings()

# The configurations that have been described: one at the start, and one more for each HUP.
_described: weakref.WeakSet[Any] = weakref.WeakSet()

_PYTHON_PARSER = (
    "aiohttp runs without its C extension; its Python parser is slow and less strict against "
    "request smuggling"
)


def describe(cfg: Any, log: Any) -> None:
    """Log what is wrong with a configuration, the first time it is seen.

    What would be refused at a start is an error after HUP: to end the master then would leave its
    workers without one.
    """
    if cfg in _described:
        return
    _described.add(cfg)
    for reason in refusals(cfg):
        log.error("%s", reason)
    for text in warnings(cfg):
        log.warning("%s", text)


def refusals(cfg: Any) -> Iterator[str]:
    """Yield what is wrong with a configuration that cannot be served."""
    if cfg.protocol != "http":
        yield (
            f"flask_aiohttp_worker.Worker speaks HTTP, not {cfg.protocol!r}: remove the setting "
            "'protocol', or use gunicorn's own workers"
        )
    if _runs_in_python() and not os.environ.get("AIOHTTP_NO_EXTENSIONS"):
        yield (
            f"{_PYTHON_PARSER}. Install aiohttp from a wheel, or set AIOHTTP_NO_EXTENSIONS=1 to "
            "run like this all the same"
        )


def warnings(cfg: Any) -> Iterator[str]:
    """Yield what an operator should know of a configuration that can be served."""
    if _runs_in_python() and os.environ.get("AIOHTTP_NO_EXTENSIONS"):
        yield f"{_PYTHON_PARSER} (AIOHTTP_NO_EXTENSIONS is set)"
    # Several settings may have the same remedy.
    in_vain: dict[str, list[str]] = {}
    for name, setting in SETTINGS.items():
        if setting.who is Who.NOBODY and _is_changed(cfg, name):
            in_vain.setdefault(setting.how, []).append(name)
    if in_vain:
        said = "; ".join(f"{', '.join(names)} ({what})" for what, names in in_vain.items())
        yield f"Settings without effect under flask_aiohttp_worker.Worker: {said}"


def _runs_in_python() -> bool:
    return HttpRequestParser is HttpRequestParserPy


def _is_changed(cfg: Any, name: str) -> bool:
    return bool(cfg.settings[name].get() != _DEFAULTS[name].get())
