"""Let a server that stops lose nothing: what is under way ends, and nothing new begins.

Rule 1: from now on each answer ends its connection, and says so.
Rule 2: a connection without a request is not closed at once: a client that has just been told that
        it may send another one may be doing that. It lingers for a moment.
Rule 3: websockets are told at once, each with a code that says whether to come back.
Rule 4: what has not ended at the deadline is cancelled, so that its ``finally`` blocks run.
Rule 5: haste ends each wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from aiohttp import WSCloseCode

from ._connections import Connections
from ._goodbye import say_goodbye
from ._service import Service
from ._settings import ServerSettings
from ._traffic import Traffic

__all__ = ("Drain",)

# Seconds between two looks at the connections that linger.
_LOOK = 0.05

# Seconds that cancelled requests have for their ``finally`` blocks.
_CANCEL_GRACE = 1.0


class Drain:
    """The stop of one server, from its last accept to the end of its last request.

    Args:
        traffic: What is under way.
        connections: Those of the server.
        settings: The server's.
        service: Has background tasks to wait for; None where there is no such.
    """

    def __init__(
        self,
        traffic: Traffic,
        connections: Connections,
        settings: ServerSettings,
        service: Service | None,
    ) -> None:
        self._traffic = traffic
        self._connections = connections
        self._settings = settings
        self._service = service

        # Set when nothing must be waited for any longer.
        self.haste = asyncio.Event()

    async def run(self, deadline: float, *, restarting: bool) -> None:
        """Wait for what is under way, then cancel what is left.

        Args:
            deadline: The loop's time until which requests and tasks have time to end.
            restarting: True if somebody else serves on: websockets are told 1012, not 1001.
        """
        code = WSCloseCode.SERVICE_RESTART if restarting else WSCloseCode.GOING_AWAY
        websockets = tuple(self._traffic.websockets)
        self._traffic.close(code)
        goodbye = asyncio.create_task(
            say_goodbye(websockets, code, self._settings.websocket_spread), name="say goodbye"
        )
        await self._wait(self._all_has_ended(), deadline)
        if late := self._traffic.cancel():
            self._settings.logger.warning("%d requests were cancelled at the stop", len(late))
            await asyncio.wait(late, timeout=_CANCEL_GRACE)
        goodbye.cancel()
        if self._service is not None:
            await self._wait(self._service.tasks_ended(), deadline)
        await asyncio.wait({goodbye})

    async def _all_has_ended(self) -> None:
        await self._let_connections_go()
        await self._traffic.idle()

    async def _let_connections_go(self) -> None:
        """End each connection that has had no request for a while, until there is none left."""
        time = asyncio.get_running_loop().time
        started, linger = time(), self._settings.linger
        while left := list(self._connections):
            for connection in left:
                idle_since = connection.idle_since
                if idle_since is not None and time() > max(idle_since, started) + linger:
                    connection.force_close()
            if time() > started + linger and all(c.transport is None for c in left):
                break  # TLS handshakes; nobody has said anything yet
            await asyncio.sleep(_LOOK)
            # uvloop runs what is due before it reads what has arrived.
            await asyncio.sleep(0)

    async def _wait(self, coroutine: Coroutine[Any, Any, None], deadline: float) -> None:
        waited = asyncio.create_task(coroutine, name="wait for requests")
        haste = asyncio.create_task(self.haste.wait(), name="wait for haste")
        try:
            remaining = deadline - asyncio.get_running_loop().time()
            await asyncio.wait(
                {waited, haste},
                timeout=max(0.0, remaining),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            waited.cancel()
            haste.cancel()
