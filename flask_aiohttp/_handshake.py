"""What is decided before a websocket's handshake, and what the handshake carries.

Rule 1: who may not have the socket learns it by plain HTTP, through Flask's error handlers.
Rule 2: the handshake is the only answer that there is: the session's cookie goes with it or never.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

from aiohttp import web
from flask import Flask, current_app, session
from flask.sessions import SecureCookieSession, SessionMixin
from werkzeug.exceptions import BadRequest, Forbidden, ServiceUnavailable

from ._environ import Environ
from ._origin import origin_is_allowed
from ._seldom import Seldom
from ._start_response import parse_head
from ._state import state_of
from ._threads import ThreadPool
from ._traffic import Traffic
from .exceptions import InvalidResponse

__all__ = ("Headers", "check", "check_protocol", "check_threads", "fields", "warn_of_lost_session")

_too_many = Seldom()

Headers: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]


def check(request: web.BaseRequest, environ: Environ, origins: tuple[str, ...]) -> None:
    """Raise where the request may not become a websocket.

    Args:
        environ: As the view sees it.
        origins: Those that may open it besides the request's own.

    Raises:
        Forbidden: A browser asks for a page of another origin.
        BadRequest: It is no request that could be answered with a handshake.
    """
    if request.method != "GET" or request.version < (1, 1):
        raise BadRequest("a websocket is asked for with GET and HTTP/1.1")
    if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
        # Whoever takes the body for frames, or frames for a body, can be lied to.
        raise BadRequest("a request for a websocket has no body")
    if not origin_is_allowed(environ, origins):
        raise Forbidden(
            f"pages of {environ['HTTP_ORIGIN']} may not open websockets here; "
            "AIOHTTP_WEBSOCKET_ORIGINS or @websocket(origins=...) lists the origins that may"
        )


def check_threads(pool: ThreadPool, traffic: Traffic) -> None:
    """Raise where one more websocket would hold the last thread of the pool.

    That one is left to plain sync views: without it they would wait for as long as somebody keeps
    a socket open. Of a pool of one thread a websocket may have that one.

    Raises:
        ServiceUnavailable: The others are held by websockets.
    """
    if traffic.threads_held < max(1, pool.size - 1):
        return
    held_back = _too_many.ask()
    if held_back is not None:
        current_app.logger.warning(
            "websockets of views that are no 'async def' hold %d of %d threads; another one was "
            "refused with 503 (%d more since the last warning). Make the view 'async def', or "
            "raise AIOHTTP_THREADS",
            traffic.threads_held,
            pool.size,
            held_back,
        )
    raise ServiceUnavailable("there are as many of these websockets as there may be", retry_after=5)


def check_protocol(environ: Environ, protocol: str) -> None:
    """Raise where the client does not offer the subprotocol that the view wants to speak.

    Raises:
        BadRequest: "The client MUST fail the connection" (RFC 6455, section 4.1).
    """
    offered = environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(",")
    if protocol not in [name.strip() for name in offered]:
        raise BadRequest(f"this websocket speaks {protocol!r}, which the request does not offer")


def fields(headers: Headers, *, with_session: bool) -> list[tuple[str, str]]:
    """Return the fields that the handshake carries besides its own.

    Args:
        with_session: True below the request whose session is meant.

    Raises:
        InvalidResponse: One cannot be sent.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    checked = parse_head("101 Switching Protocols", pairs).headers
    for name, _ in checked:
        if name.lower().startswith("sec-websocket-"):
            raise InvalidResponse(f"the header {name!r} of a handshake is aiohttp's to write")
    return [*checked, *_session_cookies()] if with_session else checked


def _session_cookies() -> list[tuple[str, str]]:
    app, current = _app(), _session()
    interface = app.session_interface
    if interface.is_null_session(current):
        return []
    response = app.response_class()
    interface.save_session(app, current, response)
    if isinstance(current, SecureCookieSession):
        # From here on it tells what is written too late. Sessions kept by a server are saved again
        # when the view has ended, and lose nothing.
        current.modified = False
    # Not its Vary: no cache keeps a handshake.
    return [("Set-Cookie", cookie) for cookie in response.headers.getlist("Set-Cookie")]


def warn_of_lost_session(endpoint: str) -> None:
    """Say once for each endpoint that its view wrote to the session after the handshake."""
    app, current = _app(), _session()
    warned = state_of(app).warned_of_session
    if isinstance(current, SecureCookieSession) and current.modified and endpoint not in warned:
        warned.add(endpoint)
        app.logger.warning(
            "the websocket view %r has changed the session after the handshake, and the client "
            "will not see it: there is no answer that could carry the cookie. Change it before "
            "the socket is used, or in a plain request",
            endpoint,
        )


def _app() -> Flask:
    return cast("Flask", cast("Any", current_app)._get_current_object())


def _session() -> SessionMixin:
    return cast("SessionMixin", cast("Any", session)._get_current_object())
