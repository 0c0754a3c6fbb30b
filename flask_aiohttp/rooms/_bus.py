"""What carries messages between workers, as their hubs see it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ._message import Message

__all__ = ("Bus", "NoBus", "Receiver")


class Receiver(Protocol):
    """The side of a hub that a bus talks to."""

    def deliver(self, room: str, message: Message) -> None:
        """Hand a message that was sent elsewhere to this worker's members."""

    def count(self, room: str) -> int:
        """Return how many members this worker has in *room*."""

    def rooms(self) -> list[str]:
        """Return the rooms that have members in this worker."""


class Bus(Protocol):
    """Carries messages to the other workers; used on one loop."""

    async def start(self) -> None:
        """Find the others. Called once, when rooms are first used."""

    async def stop(self) -> None:
        """Send what is under way, and leave."""

    def enter(self, room: str) -> asyncio.Future[None] | None:
        """Have sent what is sent to *room*, and return what to wait for until that is so."""

    def leave(self, room: str) -> None:
        """Have no more sent to *room*."""

    async def publish(self, room: str, message: Message) -> bool:
        """Send *message* to the other workers.

        Returns:
            False if they cannot be reached.
        """

    async def members(self, room: str) -> int:
        """Return how many members the other workers have."""


class NoBus:
    """The bus of a process that is alone: it costs nothing."""

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def enter(self, room: str) -> None:
        pass

    def leave(self, room: str) -> None:
        pass

    async def publish(self, room: str, message: Message) -> bool:
        return True

    async def members(self, room: str) -> int:
        return 0
