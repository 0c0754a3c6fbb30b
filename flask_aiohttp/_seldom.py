"""Let a warning through now and then, and count those between."""

from __future__ import annotations

from time import monotonic

__all__ = ("Seldom",)

_SECONDS = 10.0


class Seldom:
    """One warning in ten seconds."""

    def __init__(self) -> None:
        self._next = 0.0

        # Warnings that were held back since the last one.
        self._held_back = 0

    def ask(self) -> int | None:
        """Return how many were held back since the last one, or None if this one is too."""
        now = monotonic()
        if now < self._next:
            self._held_back += 1
            return None
        self._next = now + _SECONDS
        held_back, self._held_back = self._held_back, 0
        return held_back
