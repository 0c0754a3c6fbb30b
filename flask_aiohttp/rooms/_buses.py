"""Which bus connects the workers: chosen once, from the settings."""

from __future__ import annotations

import asyncio

from .._settings import ServerSettings
from ._bus import Bus, NoBus, Receiver
from ._hub import Hub
from ._mesh import Mesh

__all__ = ("make_hub",)


def make_hub(name: str, settings: ServerSettings, loop: asyncio.AbstractEventLoop) -> Hub:
    """Return the hub of one application in one process.

    Args:
        name: The application's.
        loop: On which it will be used. Nothing is opened before rooms are used.
    """

    def make_bus(receiver: Receiver) -> Bus:
        if settings.rooms_key is not None:
            return Mesh(receiver, settings.rooms_key, settings.logger)
        return NoBus()

    return Hub(make_bus, loop, settings.rooms_backlog, settings.logger)
