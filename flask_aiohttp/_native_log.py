"""The access log of requests that aiohttp's router gives to somebody else than Flask."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from ._settings import NoAccessLog, ServerSettings
from ._websocket import WebSocket
from ._writer import SentResponse

__all__ = ("native_log_options",)


class _NativeLog(AbstractAccessLogger):
    """What aiohttp calls after each answer; those of ours have been logged already."""

    logger: Any

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write one line."""
        if not isinstance(response, (SentResponse, WebSocket)):
            self.logger.write_native(request, response, time)


def native_log_options(settings: ServerSettings) -> dict[str, Any]:
    """Return what aiohttp's connections are told about their access log."""
    if isinstance(settings.access_log, NoAccessLog):
        return {"access_log": None}
    return {"access_log": settings.access_log, "access_log_class": _NativeLog}
