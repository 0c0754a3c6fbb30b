"""From gunicorn's configuration to the settings of a server."""

from __future__ import annotations

import os
from typing import Any

from gunicorn import SERVER, SERVER_SOFTWARE
from gunicorn.http.wsgi import WSGIErrorsWrapper

from flask_aiohttp._settings import ServerSettings

from . import _rooms
from ._access import access_log
from ._hooks import request_hooks
from ._policy import policy_of, proxy_protocol_of

__all__ = ("from_gunicorn",)


def from_gunicorn(worker: Any) -> ServerSettings:
    """Return the settings that the configuration of a gunicorn *worker* asks for."""
    cfg, log = worker.cfg, worker.log
    defaults, largest = ServerSettings(), cfg.websocket_max_message_size
    return ServerSettings(
        # gunicorn's default of 1 is no wish: nobody wants one thread for all sync views.
        threads=cfg.threads if cfg.threads > 1 else defaults.threads,
        connections=cfg.worker_connections,
        keepalive=cfg.keepalive,
        policy=policy_of(cfg),
        proxy_protocol=proxy_protocol_of(cfg),
        sendfile=cfg.sendfile,
        disconnect_grace=cfg.asgi_disconnect_grace_period,
        graceful_timeout=cfg.graceful_timeout,
        # Under --reload nobody serves until this worker has ended.
        linger=0.25 if cfg.reload else defaults.linger,
        websocket_spread=0.0 if cfg.reload else defaults.websocket_spread,
        # aiohttp refuses a message of this size, gunicorn a larger one.
        websocket_max_message_size=largest + 1 if largest else 0,
        rooms_key=_rooms.key(),
        script_name=os.environ.get("SCRIPT_NAME", ""),
        multiprocess=cfg.workers > 1,
        server=SERVER,
        software=SERVER_SOFTWARE,
        errors=WSGIErrorsWrapper(cfg),
        hooks=request_hooks(worker),
        access_log=access_log(log),
        logger=log,
    )
