"""A connection that may come from a proxy, which then says for whom before HTTP begins."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from ._policy import RequestRefused
from ._protocol import Protocol
from ._proxy_protocol import Header, ProxyProtocol, parse
from ._refusal import log_refusal, refusal

__all__ = ("ProxiedProtocol",)


class ProxiedProtocol(Protocol):
    """One connection, with or without a header of the PROXY protocol.

    Over TLS the header comes inside of it, as with gunicorn.

    Args:
        manager: aiohttp's server.
        proxy_protocol: Whose headers are read.
        options: Those of :class:`Protocol`.
    """

    __slots__ = ("_beginning", "_ending", "_proxy_protocol", "proxy_header")

    def __init__(
        self, manager: web.Server, *, proxy_protocol: ProxyProtocol, **options: Any
    ) -> None:
        super().__init__(manager, **options)
        self._proxy_protocol = proxy_protocol

        # What has arrived of a header; None once HTTP has begun.
        self._beginning: bytes | None = b""

        # What the proxy said; None without a header.
        self.proxy_header: Header | None = None

        # Ends a connection that was refused before HTTP.
        self._ending: asyncio.Task[None] | None = None

    @property
    def peername(self) -> Any:
        """The client's address, as the proxy tells it; without that the peer's."""
        header = self.proxy_header
        return self.sender if header is None or header.client is None else header.client

    @property
    def sender(self) -> Any:
        """The peer's address: trust is a matter of who is connected here."""
        return super().peername

    def data_received(self, data: bytes) -> None:
        """Take a header off the connection's beginning."""
        if self._beginning is None:
            super().data_received(data)
        elif self._ending is None:
            self._beginning += data
            self._look_for_header()

    def _look_for_header(self) -> None:
        beginning = self._beginning or b""
        try:
            found = parse(beginning, self._proxy_protocol.versions, self._may_send_header)
        except RequestRefused as refused:
            self._refuse(refused)
            return
        if found is not None:
            self.proxy_header, size = found
            self._beginning = None
            if rest := beginning[size:]:
                super().data_received(rest)

    def _may_send_header(self) -> bool:
        return self._proxy_protocol.senders.have(self.sender, self.sockname)

    def _refuse(self, refused: RequestRefused) -> None:
        log_refusal(self, str(refused))
        if self.transport is not None:
            self.transport.write(refusal(refused.status, self.server))
        self._ending = self._loop.create_task(self.linger(), name="end of a refused connection")
