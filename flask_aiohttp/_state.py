"""What this extension keeps with a Flask application: ``app.extensions["aiohttp"]``."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from typing import TYPE_CHECKING, cast

from flask import Flask

from ._lifespan import Hook
from ._tasks import Tasks
from .exceptions import NotInitialized

if TYPE_CHECKING:
    from .rooms import Hub

__all__ = ("AppState", "state_of")


class AppState:
    """The extension's side of one Flask application."""

    def __init__(self, app: Flask) -> None:
        # The hooks of each AioHTTP object that knows the application, in the order of init_app().
        # The lists are the objects' own: they may grow until the server starts.
        self.hook_lists: list[list[Hook]] = []

        self.tasks = Tasks(app)

        # The rooms of this process, while it serves the application; else by the loop on which
        # they are used.
        self.hub: Hub | None = None
        self.hubs_outside: dict[AbstractEventLoop, Hub] = {}

        # Endpoints whose websocket views have changed the session too late, and were told so.
        self.warned_of_session: set[str] = set()

    def hooks(self) -> list[Hook]:
        """Return all hooks in the order in which they run at the start."""
        return [hook for hooks in self.hook_lists for hook in hooks]


def state_of(app: Flask) -> AppState:
    """Return what was registered for *app*.

    Raises:
        NotInitialized: ``init_app()`` was not called for it.
    """
    try:
        return cast("AppState", app.extensions["aiohttp"])
    except KeyError:
        raise NotInitialized(app) from None
