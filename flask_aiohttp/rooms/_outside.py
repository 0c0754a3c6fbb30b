"""The rooms of a process that is no worker: a script, a Celery task, a test, ``flask shell``.

Its hub lives on the process's background loop. With Redis it reaches the workers; without it there
is nobody but this process, which is what tests and ``flask run`` want, and an error elsewhere.
"""

from __future__ import annotations

from flask import Flask, has_request_context

from .._background import background_loop
from .._settings import ServerSettings, with_config
from .._state import state_of
from ..exceptions import RoomsUnavailable
from ._buses import make_hub
from ._hub import Hub

__all__ = ("hub_outside",)


def hub_outside(app: Flask) -> Hub:
    """Return the hub of *app* in a process that does not serve it.

    Raises:
        RoomsUnavailable: Nobody could hear what is sent here.
    """
    if not app.config.get("AIOHTTP_ROOMS_URL") and not app.testing and not has_request_context():
        raise RoomsUnavailable
    loop = background_loop()
    hubs = state_of(app).hubs_outside
    # One that a race makes in vain has done nothing yet. After a fork there is another loop.
    return hubs.get(loop) or hubs.setdefault(
        loop, make_hub(app.name, with_config(ServerSettings(), app.config), loop)
    )
