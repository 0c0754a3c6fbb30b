"""The worker's life: boot, signals, heartbeat, drain, exit.

Rule 1: nothing of asyncio exists before the fork; the loop is made in run().
Rule 2: a failure before the sockets are served stops gunicorn, a later one does not.
Rule 3: signal handlers are real ones (``signal.signal``) and only set flags and wake the loop: the
        loop's own never run when the loop is blocked, which is when SIGABRT is sent.
Rule 4: the heartbeat goes on until the last request has ended.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
from types import FrameType
from typing import Any, ClassVar, NoReturn
from weakref import WeakSet

from gunicorn.errors import AppImportError
from gunicorn.sock import ssl_context
from gunicorn.workers import base

from flask_aiohttp import InvalidApplication, _loops
from flask_aiohttp._server import Server

from . import _rooms
from ._alarm import Alarm
from ._application import WHAT_TO_NAME, as_aiohttp_application, check_application
from ._check import describe, refusals
from ._last_words import last_words
from ._settings import from_gunicorn
from ._status import Status
from ._successor import master_listens
from .systemd import start_watchdog

__all__ = ("Worker",)

# Seconds that a stop by SIGINT or SIGQUIT may take.
_QUICK_STOP = 1.0

# Seconds that requests have under --reload.
_RELOAD_TIMEOUT = 5.0

# Seconds after the graceful timeout in which a worker ends, whatever it does.
_OVERTIME = 0.9

# What gunicorn's reloader writes to a worker's pipe; no signal that it handles has this number.
_FILE_HAS_CHANGED = b"1"

# Seconds that tasks have to end when that time is up.
_NO_TIME = 0.1


class Worker(base.Worker):
    """A gunicorn worker that serves Flask, WSGI and aiohttp applications on one asyncio loop."""

    # gunicorn's: False once the worker is told to go.
    alive: bool

    _living: ClassVar[WeakSet[Worker]] = WeakSet()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # This runs in the master, also after HUP, when gunicorn does not call check_config().
        describe(self.cfg, self.log)
        _rooms.prepare(self.cfg)

        # True after SIGINT or SIGQUIT: stop without waiting for requests.
        self.quick = False

        # Set while run() serves; signal handlers find the loop and the server here.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._stop: asyncio.Event | None = None

        # The task of run() while it starts the application: there is nothing to drain yet.
        self._starting: asyncio.Task[Any] | None = None

        # True if gunicorn replaces this worker when it has ended.
        self._restarting = False

        # True once there is a limit to the stop.
        self._limited = False

        # True once a stop has taken too long.
        self._time_is_up = False

        # Told by statsd from the other workers that live: this runs in the master, which forgets a
        # worker when it has ended.
        taken = {worker.number for worker in Worker._living}
        self.number: int = next(number for number in itertools.count(1) if number not in taken)
        Worker._living.add(self)

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse, in the master and before anything is forked, what cannot work.

        Raises:
            RuntimeError: gunicorn prints it and exits with 1.
        """
        for reason in refusals(cfg):
            raise RuntimeError(reason)
        start_watchdog(Worker._living, log)

    def load_wsgi(self) -> None:
        """Load what gunicorn was told to serve.

        Raises:
            AppImportError: It is no application; gunicorn prints the sentence and stops.
        """
        # A program that embeds gunicorn has an Application of its own, without app_uri.
        uri = getattr(self.app, "app_uri", type(self.app).__name__)
        try:
            super().load_wsgi()
            check_application(self.wsgi, uri)
        except InvalidApplication as error:
            raise AppImportError(str(error)) from error
        except AppImportError as error:
            # gunicorn's own sentences do not always say what was named, and never what to name.
            raise AppImportError(f"cannot load '{uri}': {error} {WHAT_TO_NAME}") from error

    def init_signals(self) -> None:
        """Install the handlers of gunicorn's base worker, which this class overrides in part."""
        self._alarm = Alarm(self._repeat_quit)
        super().init_signals()
        # Nobody sends it to a worker, but a terminal that closes does so to the whole group.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM: drain. It may come more than once, and means the same each time."""
        self._limit_stop()
        self.alive = False
        self._wake()

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """SIGINT or SIGQUIT: stop at once, also in the middle of a drain."""
        if self._time_is_up:
            self._break_out(0)
        if self.quick:
            # A terminal's Ctrl-C comes from the terminal and from the master: once more is no wish
            # of anybody. The timer's is.
            return
        self.quick = True
        self.alive = False
        self.cfg.worker_int(self)
        self._alarm.set(_QUICK_STOP)
        self._wake()

    def _limit_stop(self) -> None:
        """Let no stop last for ever: but for the end of all, gunicorn kills nobody."""
        if not self._limited:
            self._limited = True
            self._alarm.set(max(1.0, self.cfg.graceful_timeout) + _OVERTIME)

    def _repeat_quit(self) -> None:
        # A signal, because what holds the main thread has to be broken off there.
        self._time_is_up = True
        os.kill(os.getpid(), signal.SIGQUIT)

    def _break_out(self, code: int) -> NoReturn:
        """Leave whatever the main thread is doing. Called by signal handlers.

        What blocks may catch the SystemExit that is raised in it, and a request's failure is
        answered: so the loop also ends itself as soon as it can.
        """
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(sys.exit, code)
        sys.exit(code)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """SIGABRT: the master has had no heartbeat; say where the loop stands, and leave."""
        self.aborted = True
        self.alive = False
        activity = self._server.activity if self._server is not None and self.booted else None
        last_words(self.log, self.pid, frame, activity)
        if self._loop is not None:
            # Its tasks end with the process: of each, asyncio would say that it was pending.
            self._loop.set_exception_handler(lambda *_: None)
        try:
            self.cfg.worker_abort(self)
        finally:
            self._break_out(1)

    def run(self) -> None:
        """Serve until told to stop; the worker's process ends when this returns."""
        # gunicorn has set it already. Unset it until the sockets are served: then a broken
        # application stops the master instead of being restarted for ever.
        self.booted = False
        self._loop = _loops.lend_daemons(_new_loop(self.cfg.asgi_loop))
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            # After an abort there is about one second until SIGKILL: worker_exit needs it.
            if not self.aborted:
                _loops.close(self._loop, _NO_TIME if self._time_is_up else 1.0)

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        # The reloader's thread writes here when a file has changed.
        loop.add_reader(self.PIPE[0], self._empty_pipe)

        self._starting = asyncio.current_task()
        self._look()  # it may have been told to go meanwhile
        try:
            settings = from_gunicorn(self)
            self._server = server = Server(await as_aiohttp_application(self.wsgi), settings)
            server.traffic.limit = self.max_requests
            server.traffic.limit_reached = self._limit_reached
            await server.start()
        except asyncio.CancelledError as error:
            if self.alive:
                # Else it would not count as a failure: the worker would be restarted for ever.
                raise RuntimeError("what a hook of the start waited for was cancelled") from error
            self.log.info("Stopped while the application was starting: %s", self)
            return
        finally:
            self._starting = None
        context = self._ssl_context() if self.cfg.is_ssl else None
        for listener in self.sockets:
            await server.listen(listener.sock, ssl_context=context)
        self.booted = True

        status = Status(server, name=self.cfg.proc_name, log=self.log, number=self.number)
        heartbeat = asyncio.create_task(self._beat(status), name="heartbeat")
        stopped = asyncio.create_task(self._stop.wait(), name="wait for the stop")
        self._look()
        await asyncio.wait({heartbeat, stopped}, return_when=asyncio.FIRST_COMPLETED)
        status.show(draining=True)
        self._limit_stop()
        restarting = self._restarting or master_listens(self.ppid, self.sockets)
        await server.stop(self._drain_timeout(), restarting=restarting)
        loop.remove_reader(self.PIPE[0])
        if heartbeat.done():  # it never ends by itself: let its error be seen
            heartbeat.result()
        heartbeat.cancel()
        stopped.cancel()
        status.end()

    async def _beat(self, status: Status) -> None:
        """Tell the master that the loop turns, and look whether the master is still there."""
        period = min(1.0, self.cfg.timeout / 4) if self.cfg.timeout else 1.0
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            self.notify()
            if self.ppid != os.getppid():
                self.log.info("Parent changed, shutting down: %s", self)
                self.alive = False
                self._look()
            status.show(draining=not self.alive, lag=max(0.0, clock() - due))
            due = clock() + period
            await asyncio.sleep(period)

    def _drain_timeout(self) -> float:
        # The master kills at graceful_timeout: what is cancelled, and the hooks, need the rest.
        graceful = float(self.cfg.graceful_timeout)
        if self.cfg.reload:
            # Somebody looks at the browser, and nobody serves until this worker has ended.
            graceful = min(graceful, _RELOAD_TIMEOUT)
        return max(0.0, graceful - min(2.0, graceful / 4))

    def _ssl_context(self) -> Any:
        context = ssl_context(self.cfg)
        # gunicorn offers h2 where http_protocols has it; aiohttp does not speak it.
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _limit_reached(self) -> None:
        if self.alive:
            self.log.info("Autorestarting worker after current request.")
        self.alive = False
        self._restarting = True
        self._look()

    def _wake(self) -> None:
        """Have the loop look at the flags. Called by signal handlers."""
        if self._loop is None:
            # The application is being imported. Nobody waits for an answer of this worker.
            sys.exit(0)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._look)

    def _empty_pipe(self) -> None:
        # Python writes here too, the number of each signal (gunicorn calls set_wakeup_fd()).
        if _FILE_HAS_CHANGED in os.read(self.PIPE[0], 4096):
            self._restarting = True
        self._look()

    def _look(self) -> None:
        if self.quick and self._server is not None:
            self._server.hurry()
        if not self.alive and self._stop is not None:
            self._stop.set()
        if not self.alive and self._starting is not None:
            # Once: a second cancellation would break into what the first one cleans up.
            self._starting.cancel()
            self._starting = None


def _new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """Return a new loop: gunicorn's setting asgi_loop says auto, asyncio or uvloop."""
    if kind != "asyncio":
        try:
            import uvloop
        except ImportError:
            if kind == "uvloop":
                raise RuntimeError(
                    "asgi_loop is 'uvloop', which is not installed: "
                    "pip install flask-aiohttp-worker[uvloop]"
                ) from None
        else:
            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
            return loop
    return asyncio.new_event_loop()
