"""From whatever gunicorn loaded to an aiohttp application."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from flask import Flask

from flask_aiohttp import AioHTTP, InvalidApplication

__all__ = ("WHAT_TO_NAME", "as_aiohttp_application", "check_application")

WHAT_TO_NAME = (
    "Name a Flask application, a WSGI callable or an aiohttp.web.Application, as in 'myapp:app'"
)


def check_application(loaded: Any, uri: str) -> None:
    """Refuse what cannot be served, with a sentence that says what to write instead.

    Args:
        loaded: What gunicorn imported.
        uri: How it was named, for example ``"myapp:app"``.

    Raises:
        InvalidApplication: *loaded* is no Flask, WSGI or aiohttp application.
    """
    if isinstance(loaded, (Flask, web.Application)) or _is_aiohttp_factory(loaded):
        return
    if not callable(loaded):
        raise InvalidApplication(f"'{uri}' is {loaded!r}, which cannot be called. {WHAT_TO_NAME}")
    if _takes(loaded, 3) and not _takes(loaded, 2):
        raise InvalidApplication(
            f"'{uri}' looks like an ASGI application: this worker serves Flask and WSGI; use "
            "'-k asgi' for ASGI"
        )
    if not _takes(loaded, 2):
        raise InvalidApplication(
            f"'{uri}' takes no (environ, start_response), so it is no WSGI application: if it "
            f"makes one, call it, as in '{uri}()'"
        )


async def as_aiohttp_application(loaded: Any) -> web.Application:
    """Return the aiohttp application that serves what gunicorn *loaded*.

    Raises:
        InvalidApplication: An aiohttp factory returned something else.
    """
    if _is_aiohttp_factory(loaded):
        loaded = await loaded()
        if not isinstance(loaded, web.Application):
            raise InvalidApplication(
                f"the application factory returned {loaded!r}: let it return an "
                "aiohttp.web.Application"
            )
    if isinstance(loaded, web.Application):
        return loaded
    if isinstance(loaded, Flask):
        if "aiohttp" not in loaded.extensions:
            AioHTTP(loaded)
        return cast("web.Application", cast("Any", loaded).aiohttp_app)
    return AioHTTP().create_aiohttp_app(loaded)


def _is_aiohttp_factory(loaded: Any) -> bool:
    return inspect.iscoroutinefunction(loaded) and _takes(loaded, 0)


def _takes(function: Callable[..., Any], arguments: int) -> bool:
    try:
        inspect.signature(function).bind(*range(arguments))
    except TypeError:
        return False
    except ValueError:  # no signature: written in C
        return True
    return True
