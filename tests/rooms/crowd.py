"""Clients of several workers, who write down what they hear while somebody speaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from harness import PATIENCE, Gunicorn, eventually

__all__ = ("Crowd", "Member", "Speaker", "crowd")


@dataclass
class Member:
    """One websocket in the room, from its first message to its end."""

    worker: int
    # The first number that was spoken after it had joined.
    first: int
    heard: list[int] = field(default_factory=list)
    # True while the socket is open; it is not to be expected of one that was closed to hear more.
    open: bool = True


class Speaker:
    """Sends numbers to the room, one after the other, through whichever worker there is."""

    def __init__(self, session: aiohttp.ClientSession, server: Gunicorn, room: str) -> None:
        self._session = session
        self._server = server
        self._room = room

        # The number that is sent next, and all that a worker says to have sent to everybody.
        self.next = 0
        self.sent: list[int] = []
        self.partly: list[int] = []
        self.workers: set[int] = set()

        # The worker through which each number went: only those of one keep their order.
        self.through: dict[int, int] = {}

    async def run(self) -> None:
        """Speak until cancelled."""
        while True:
            with contextlib.suppress(aiohttp.ClientError, TypeError, ConnectionError):
                url = f"{self._server.url}/speak/{self._room}"
                async with self._session.ws_connect(url) as socket:
                    worker = (await socket.receive_json())["worker"]
                    self.workers.add(worker)
                    while True:
                        number, self.next = self.next, self.next + 1
                        self.through[number] = worker
                        await socket.send_json(number)
                        reached = await socket.receive_json()
                        (self.sent if reached else self.partly).append(number)
                        await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)

    async def speak_on(self, number: int = 50) -> None:
        """Wait until so many more have been sent."""
        goal = len(self.sent) + number
        await eventually(lambda: len(self.sent) >= goal, f"{number} more messages")


class Crowd:
    """Members of one room at one or more servers, and who speaks there."""

    def __init__(self, session: aiohttp.ClientSession, room: str) -> None:
        self.session = session
        self.room = room
        self.members: list[Member] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, server: Gunicorn, speaker: Speaker) -> None:
        """Add one member at whichever worker takes it; none, if that one is about to leave."""
        url = f"{server.url}/join/{self.room}"
        socket = await self.session.ws_connect(url)
        heard = []
        # It hears from the moment at which it has joined, and says then who it is.
        try:
            while isinstance(said := await socket.receive_json(timeout=PATIENCE), int):
                heard.append(said)
        except aiohttp.WSMessageTypeError:
            await socket.close()
            return
        member = Member(said["worker"], speaker.next, heard)
        self.members.append(member)
        self._tasks.append(asyncio.create_task(self._hear(member, socket)))

    async def _hear(self, member: Member, socket: Any) -> None:
        try:
            async for message in socket:
                member.heard.append(int(message.data))
        finally:
            member.open = False
            await socket.close()

    async def fill(self, server: Gunicorn, speaker: Speaker, workers: set[int]) -> None:
        """Join until each of *workers* has a member."""
        while not workers <= {member.worker for member in self.members}:
            # Several at once: of those that come one by one, one worker might take each.
            await asyncio.gather(*(self.join(server, speaker) for _ in range(4)))

    async def check(self, speaker: Speaker, forgiven: range = range(0)) -> None:
        """Assert that each has heard once what was sent while it was there, each worker's in order.

        Args:
            forgiven: Numbers that may have been missed.
        """
        sent = [number for number in speaker.sent if number not in forgiven]

        def missed(member: Member) -> set[int]:
            # Of each worker, all up to the end; where the member is gone, up to the last it heard.
            heard = set(member.heard)
            last = {speaker.through[number]: number for number in sorted(heard)}
            return {
                number
                for number in sent
                if number >= member.first
                and number not in heard
                and (member.open or number < last.get(speaker.through[number], 0))
            }

        with contextlib.suppress(AssertionError):
            await eventually(lambda: not any(map(missed, self.members)), "all messages")
        for member in self.members:
            assert len(member.heard) == len(set(member.heard)), f"twice: {member.heard}"
            for worker in speaker.workers:
                heard = [n for n in member.heard if speaker.through[n] == worker]
                assert heard == sorted(heard), f"out of order: {heard}"
            assert not missed(member), f"missed: {sorted(missed(member))}"

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


@contextlib.asynccontextmanager
async def crowd(*servers: Gunicorn, room: str = "a") -> AsyncIterator[tuple[Crowd, Speaker]]:
    """Yield a crowd without members and somebody who speaks at the first server."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        speaker = Speaker(session, servers[0], room)
        people = Crowd(session, room)
        speaking = asyncio.create_task(speaker.run())
        try:
            await speaker.speak_on(1)
            yield people, speaker
        finally:
            speaking.cancel()
            await asyncio.wait({speaking})
            await people.close()
