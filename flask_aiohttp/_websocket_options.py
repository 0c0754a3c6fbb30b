"""What a websocket is made with: the server's defaults, and what its view says besides."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import _values
from ._settings import ServerSettings

__all__ = ("WebSocketOptions", "default_options", "parse_options")


@dataclass(frozen=True)
class WebSocketOptions:
    """The options of one route's websockets; ``@websocket`` describes each."""

    protocols: tuple[str, ...]
    heartbeat: float
    timeout: float
    message_timeout: float
    max_msg_size: int
    compress: bool
    origins: tuple[str, ...]
    close_timeout: float

    @functools.cached_property
    def for_aiohttp(self) -> Mapping[str, Any]:
        """The arguments of ``aiohttp.web.WebSocketResponse``."""
        return {
            "protocols": self.protocols,
            "heartbeat": self.heartbeat or None,
            "receive_timeout": self.timeout or None,
            "max_msg_size": self.max_msg_size,
            "compress": self.compress,
            "timeout": self.close_timeout,
        }

    def changed(self, changes: Mapping[str, Any]) -> WebSocketOptions:
        """Return these options with those that a view has given."""
        return dataclasses.replace(self, **changes)


def default_options(settings: ServerSettings) -> WebSocketOptions:
    """Return the options of a view that gives none."""
    return WebSocketOptions(
        protocols=settings.websocket_protocols,
        heartbeat=settings.websocket_heartbeat,
        timeout=settings.websocket_timeout,
        message_timeout=settings.websocket_message_timeout,
        max_msg_size=settings.websocket_max_message_size,
        compress=settings.websocket_compress,
        origins=settings.websocket_origins,
        close_timeout=settings.websocket_close_timeout,
    )


def parse_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``@websocket`` was given, checked.

    Raises:
        InvalidSetting: A value cannot be used.
        TypeError: There is no such option.
    """
    unknown = sorted(given.keys() - _PARSERS.keys())
    if unknown:
        raise TypeError(
            f"@websocket has no option {unknown[0]!r}; there are {', '.join(sorted(_PARSERS))}"
        )
    return {
        option: _PARSERS[option](f"@websocket({option}=...)", value)
        for option, value in given.items()
    }


_PARSERS: dict[str, Callable[[str, Any], Any]] = {
    "protocols": _values.subprotocols,
    "heartbeat": _values.seconds_or_none,
    "timeout": _values.seconds_or_none,
    "message_timeout": _values.seconds,
    "max_msg_size": _values.size,
    "compress": _values.boolean,
    "origins": _values.origins,
    "close_timeout": _values.seconds,
}
