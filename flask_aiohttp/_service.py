"""One application as it is served: its handler, its hooks, its tasks, from start to stop.

A service is tied to an aiohttp application, and starts and stops with it. So it makes no
difference who runs that: this project's worker, ``aio.run()``, aiohttp's own worker or a program.
"""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web
from flask import Flask

from ._goodbye import say_goodbye
from ._lifespan import Lifespan
from ._settings import ServerSettings, with_config
from ._state import state_of
from .handler import WSGIHandlerBase
from .rooms import Hub, make_hub

__all__ = ("SERVICE", "Service")

# Seconds that views have to see their websockets close.
_FAREWELL = 1.0


class Service:
    """Starts and stops what one served application needs.

    Args:
        handler: Serves the requests.
        flask_apps: The Flask applications behind the handler, the main one first.
    """

    def __init__(self, handler: WSGIHandlerBase, flask_apps: list[Flask]) -> None:
        self.handler = handler
        self.flask_apps = flask_apps

        # The loop's time at which tasks are waited for no longer; set by whoever drains.
        self.deadline: float | None = None

        # The rooms of all its Flask applications, while it is started.
        self.hub: Hub | None = None

        # One for each Flask application, once started.
        self._lifespans: list[Lifespan] = []

    def configure(self, settings: ServerSettings) -> None:
        """Take the server's settings, and what the Flask configuration says besides."""
        if self.flask_apps:
            settings = with_config(settings, self.flask_apps[0].config)
        self.handler.settings = settings

    async def start(self, application: web.Application) -> None:
        """Start the handler, then run the hooks of the start."""
        self.configure(self.handler.settings)
        await self.handler.start()
        self._open_rooms()
        try:
            for app in self.flask_apps:
                lifespan = Lifespan(app, state_of(app).hooks())
                await lifespan.start()
                self._lifespans.append(lifespan)
        except BaseException:
            await self.stop(application)
            raise

    async def say_goodbye(self, _: web.Application) -> None:
        """Close the websockets that are left: under somebody else's server nobody else does."""
        # aiohttp reads nothing any more by now, the client's answer included.
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(say_goodbye(self.handler.traffic.websockets), _FAREWELL)

    async def stop(self, application: web.Application) -> None:
        """Wait for the tasks, run the hooks of the stop, then stop the handler."""
        for app in self.flask_apps:
            await state_of(app).tasks.finish(self._remaining())
        while self._lifespans:
            await self._lifespans.pop().stop()
        await self._close_rooms()
        await self.handler.stop()

    def _open_rooms(self) -> None:
        if self.flask_apps:
            loop = asyncio.get_running_loop()
            self.hub = make_hub(self.flask_apps[0].name, self.handler.settings, loop)
            for app in self.flask_apps:
                state_of(app).hub = self.hub

    async def _close_rooms(self) -> None:
        hub, self.hub = self.hub, None
        if hub is not None:
            await hub.stop()
            for app in self.flask_apps:
                if state_of(app).hub is hub:
                    state_of(app).hub = None

    async def tasks_ended(self) -> None:
        """Wait for the background tasks."""
        if self.hub is not None:
            self.hub.end_listeners()
        while tasks := {t for app in self.flask_apps for t in state_of(app).tasks.of_this_loop()}:
            await asyncio.wait(tasks)

    def _remaining(self) -> float:
        if self.deadline is None:
            return self.handler.settings.graceful_timeout
        return max(0.0, self.deadline - asyncio.get_running_loop().time())


# Where an aiohttp application keeps its service.
SERVICE = web.AppKey("flask_aiohttp.service", Service)
