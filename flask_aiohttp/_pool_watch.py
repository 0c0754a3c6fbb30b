"""Say in the log what holds up sync views: the others, or one itself."""

from __future__ import annotations

from collections import Counter

from ._activity import Activity, describe, exchange_of
from ._seldom import Seldom
from ._settings import ServerSettings
from ._stacks import frames_of_threads, grouped
from ._threads import PoolThread, ThreadPool, Work

__all__ = ("PoolWatch",)

# Seconds that a request may wait for a thread before it is told who has them.
_PATIENCE = 1.0

# Views that a warning names.
_MAX_VIEWS = 10


class PoolWatch:
    """Looks at the threads of one server now and then, on its loop.

    Args:
        activity: Of the server.
        settings: ``slow_request`` and ``logger``.
    """

    def __init__(self, activity: Activity, settings: ServerSettings) -> None:
        self._activity = activity
        self._slow_request = settings.slow_request
        self._logger = settings.logger
        self._full = Seldom()

        # What each thread works on, and since when, as far as it was seen here. The time is None
        # once it was reported.
        self._seen: dict[PoolThread, tuple[Work, float | None]] = {}

    def look(self) -> None:
        """Report what there is to report."""
        pool = self._activity.pool
        if pool is None:
            return
        if pool.waited() > _PATIENCE and self._full.ask() is not None:
            self._report_full(pool)
        if self._slow_request:
            self._look_for_slow(pool)

    def _report_full(self, pool: ThreadPool) -> None:
        works = [thread.work for thread in pool.threads]
        exchanges = [exchange_of(work) for work in works if work is not None]
        views = Counter(describe(exchange) for exchange in exchanges if exchange is not None)
        listed = [f"  {number} x {view}" for view, number in views.most_common(_MAX_VIEWS)]
        if len(views) > _MAX_VIEWS:
            listed.append(f"  and {len(views) - _MAX_VIEWS} others")
        self._logger.warning(
            "%d requests wait for a thread, the first for more than %.1f s. All %d threads are "
            "busy. More threads (gunicorn --threads, AIOHTTP_THREADS) or 'async def' views would "
            "help:\n%s",
            pool.waiting,
            pool.waited(),
            pool.size,
            "\n".join(listed),
        )

    def _look_for_slow(self, pool: ThreadPool) -> None:
        now = pool.loop.time()
        seen, self._seen = self._seen, {}
        slow = []
        for thread in pool.threads:
            work = thread.work
            if work is None:
                continue
            before, since = seen.get(thread, (None, None))
            if before is not work:
                since = now
            elif since is not None and now - since >= self._slow_request:
                since = None
                slow.append((thread, work))
            self._seen[thread] = (work, since)
        if slow:
            self._report_slow(slow)

    def _report_slow(self, slow: list[tuple[PoolThread, Work]]) -> None:
        frames = frames_of_threads()
        requests = [
            (describe(exchange), frames.get(thread.ident or 0, []))
            for thread, work in slow
            # A websocket's view may well last.
            if (exchange := exchange_of(work)) and "wsgi.websocket" not in exchange.environ
        ]
        if requests:
            self._logger.warning(
                "Synchronous views have taken more than %g s so far:\n%s",
                self._slow_request,
                grouped(requests).rstrip(),
            )
