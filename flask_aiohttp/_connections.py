"""The open connections of one server: how many there are, and how many there may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ._protocol import Protocol

__all__ = ("Connections",)


class Connections:
    """The connections that were accepted and have not ended, TLS handshakes included.

    Args:
        limit: How many there may be at a time (gunicorn's ``worker_connections``).
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[Protocol] = set()

        # Called once, when there is room again.
        self._waiting: list[Callable[[], object]] = []

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Protocol]:
        return iter(tuple(self._open))

    @property
    def full(self) -> bool:
        """True if no more may be accepted."""
        return len(self._open) >= self._limit

    def add(self, protocol: Protocol) -> None:
        """Count a connection."""
        self._open.add(protocol)

    def discard(self, protocol: Protocol) -> None:
        """Count a connection no more. Idempotent."""
        self._open.discard(protocol)
        waiting, self._waiting = self._waiting, []
        for resume in waiting:
            resume()

    def when_there_is_room(self, resume: Callable[[], object]) -> None:
        """Call *resume* as soon as a connection ends."""
        self._waiting.append(resume)
