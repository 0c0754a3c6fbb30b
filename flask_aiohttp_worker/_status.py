"""What a worker says of itself while it serves: to ps in its title, to statsd in gauges.

========================================  ==================================================
gauge (after gunicorn's ``statsd_prefix``)
========================================  ==================================================
``gunicorn.worker.N.requests``            requests in flight, without websockets
``gunicorn.worker.N.websockets``          open websockets
``gunicorn.worker.N.waiting``             requests that wait for a thread
``gunicorn.worker.N.loop_lag``            milliseconds by which the loop was late
========================================  ==================================================

N is the worker's number, from 1 on: statsd keeps one value for each name, and workers that share
one would overwrite each other's. A new worker takes a number that has become free.
"""

from __future__ import annotations

import sys
from typing import Any

from setproctitle import setproctitle

from flask_aiohttp._server import Server

__all__ = ("Status",)


class Status:
    """Shows what one server does, each time it is asked to.

    Args:
        server: The server.
        name: gunicorn's ``proc_name``.
        log: gunicorn's logger: the one for statsd has ``gauge()``.
        number: Of the worker.
    """

    def __init__(self, server: Server, *, name: str, log: Any, number: int) -> None:
        self._server = server
        self._name = name
        self._gauge = getattr(log, "gauge", None)
        self._prefix = f"gunicorn.worker.{number}."
        self._title = ""

    def show(self, *, draining: bool, lag: float = 0.0) -> None:
        """Tell how much the server has to do.

        Args:
            draining: True once it has been told to stop.
            lag: Seconds by which the loop was late.
        """
        traffic = self._server.traffic
        websockets = len(traffic.websockets)
        requests = len(traffic.in_flight) - websockets
        waiting = self._server.activity.waiting
        self._set_title(requests, websockets, waiting, draining)
        self._send(requests, websockets, waiting, round(lag * 1000))

    def end(self) -> None:
        """Tell that there is nothing any more: what statsd heard last it would keep."""
        self._send(0, 0, 0, 0)

    def _set_title(self, requests: int, websockets: int, waiting: int, draining: bool) -> None:
        doing = [f"{requests} requests", f"{websockets} websockets"]
        if waiting:
            doing.append(f"{waiting} waiting for a thread")
        if draining:
            doing.append("draining")
        title = f"gunicorn: worker [{self._name}] {', '.join(doing)}"
        # On macOS it crashes after a fork (https://github.com/benoitc/gunicorn/issues/3021).
        if title != self._title and sys.platform != "darwin":
            setproctitle(title)
            self._title = title

    def _send(self, requests: int, websockets: int, waiting: int, lag: int) -> None:
        if self._gauge is not None:
            self._gauge(f"{self._prefix}requests", requests)
            self._gauge(f"{self._prefix}websockets", websockets)
            self._gauge(f"{self._prefix}waiting", waiting)
            self._gauge(f"{self._prefix}loop_lag", lag)
