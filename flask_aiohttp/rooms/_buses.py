"""Which bus connects the workers: chosen once, from the settings."""

from __future__ import annotations

import asyncio
import logging

from .._settings import ServerSettings
from .._values import without_password
from ..exceptions import InvalidSetting
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
        if settings.rooms_url is not None:
            prefix = settings.rooms_prefix
            if prefix is None:
                prefix = f"flask-aiohttp:{name}:"
            return _redis_bus(receiver, settings.rooms_url, prefix, settings.logger)
        if settings.rooms_key is not None:
            return Mesh(receiver, settings.rooms_key, settings.logger)
        return NoBus()

    return Hub(make_bus, loop, settings.rooms_backlog, settings.logger)


def _redis_bus(receiver: Receiver, url: str, prefix: str, logger: logging.Logger) -> Bus:
    try:
        from ._redis import RedisBus
    except ModuleNotFoundError:
        raise InvalidSetting(
            "AIOHTTP_ROOMS_URL",
            without_password(url),
            "used with the package redis: pip install 'flask-aiohttp-worker[redis]'",
        ) from None
    try:
        return RedisBus(receiver, url, prefix, logger)
    except (ValueError, TypeError) as error:
        raise InvalidSetting(
            "AIOHTTP_ROOMS_URL", without_password(url), f"what redis can read: {error}"
        ) from error
