"""gunicorn's hooks ``pre_request`` and ``post_request``.

Rule 1: they run where the request runs, in its thread or greenlet and in its context, as they do
        under gunicorn's own workers: what one of them sets there the view and the other one see.
Rule 2: nothing of this module runs where neither hook is set.
"""

from __future__ import annotations

import logging
from typing import Any

from aiohttp import web

from flask_aiohttp._exchange import Exchange

from ._message import Request, Response

__all__ = ("GunicornHooks", "request_hooks")


class GunicornHooks:
    """Calls the hooks around each request, websockets included.

    Args:
        worker: The gunicorn worker, which the hooks are given.
    """

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self._before = worker.cfg.pre_request
        self._after = worker.cfg.post_request

    def run(self, exchange: Exchange, request: web.BaseRequest) -> None:
        """Run the exchange.

        Raises:
            Exception: Whatever it, or the first hook, raises. What the second raises is logged.
        """
        message = exchange.message = Request(request, exchange)
        # A hook that fails leaves nothing for the other one, as with gunicorn.
        environ: dict[str, Any] = {}
        response = None
        try:
            self._before(self._worker, message)
            message.apply_changes()
            environ, response = exchange.environ, Response(exchange)
            self._worker.nr += 1  # hooks read it
            exchange.run()
        finally:
            try:
                self._after(self._worker, message, environ, response)
            except Exception:
                self._worker.log.exception("Exception in post_request hook")


def request_hooks(worker: Any) -> GunicornHooks | None:
    """Return what calls the hooks, or None if both would do nothing.

    gunicorn's own pre_request writes a line to the error log, at the level "debug".
    """
    hooks = ("pre_request", "post_request")
    settings = worker.cfg.settings
    if any(settings[name].get() is not settings[name].default for name in hooks):
        return GunicornHooks(worker)
    return GunicornHooks(worker) if worker.log.error_log.isEnabledFor(logging.DEBUG) else None
