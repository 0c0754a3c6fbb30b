"""Run Flask on aiohttp: async views on one shared loop, websockets, streaming."""

from __future__ import annotations

from ._sse import Event, last_event_id, sse
from ._waiting import await_
from .exceptions import (
    AlreadyAccepted,
    BridgeRequired,
    ClientGone,
    ConcurrentReceive,
    FlaskAioHTTPError,
    InvalidApplication,
    InvalidResponse,
    InvalidRoom,
    InvalidSetting,
    NotInitialized,
    NoWebSocket,
    RoomMessageTooLarge,
    RoomsUnavailable,
    WebSocketClosed,
    WebSocketEnded,
    WebSocketRejected,
    WebSocketTimeout,
    WebSocketUnsupported,
)
from .extension import AioHTTP
from .handler import WSGIHandlerBase, WSGIWebSocketHandler
from .helper import (
    async_,
    cancel_on_disconnect,
    has_client,
    has_websocket,
    websocket,
    wrap_wsgi_middleware,
)
from .rooms import Lagged

__all__ = (
    "AioHTTP",
    "AlreadyAccepted",
    "BridgeRequired",
    "ClientGone",
    "ConcurrentReceive",
    "Event",
    "FlaskAioHTTPError",
    "InvalidApplication",
    "InvalidResponse",
    "InvalidRoom",
    "InvalidSetting",
    "Lagged",
    "NoWebSocket",
    "NotInitialized",
    "RoomMessageTooLarge",
    "RoomsUnavailable",
    "WSGIHandlerBase",
    "WSGIWebSocketHandler",
    "WebSocketClosed",
    "WebSocketEnded",
    "WebSocketRejected",
    "WebSocketTimeout",
    "WebSocketUnsupported",
    "async_",
    "await_",
    "cancel_on_disconnect",
    "has_client",
    "has_websocket",
    "last_event_id",
    "sse",
    "websocket",
    "wrap_wsgi_middleware",
)
