"""The worker stops: with patience after SIGTERM, at once after SIGINT and SIGQUIT."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
from collections.abc import Callable

import aiohttp
import pytest
from harness import Gunicorn, eventually, wait_for

from .conftest import Release


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_each_stop_ends_with_code_0_after_the_hooks(
    gunicorn: Callable[..., Gunicorn], hooks: str, number: int
) -> None:
    """gunicorn ends with 0, and the application's and gunicorn's hooks have run once."""
    server = gunicorn("worker_demo:app", "--config", hooks)
    [pid] = server.wait_for_workers()

    code = server.stop(number)

    assert 0 == code
    assert 1 == server.log.count(f"hook: shutdown {pid}")
    assert 1 == server.log.count(f"hook: worker_exit {pid}")
    assert (number != signal.SIGTERM) == server.log.count(f"hook: worker_int {pid}")
    assert "ERROR" not in server.log


def test_ctrl_c_in_a_terminal_calls_worker_int_once(
    gunicorn: Callable[..., Gunicorn], hooks: str
) -> None:
    """A terminal sends SIGINT to the whole group and the master adds SIGQUIT: that is one stop."""
    server = gunicorn("worker_demo:app", "--config", hooks)
    [pid] = server.wait_for_workers()

    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGQUIT)
    code = server.stop(signal.SIGINT)

    assert 0 == code
    assert 1 == server.log.count(f"hook: worker_int {pid}")
    assert 1 == server.log.count(f"hook: shutdown {pid}")


@pytest.mark.parametrize("path", ["/hold", "/hold-sync", "/stream"])
def test_sigterm_lets_a_request_in_flight_end(
    gunicorn: Callable[..., Gunicorn], release: Release, path: str
) -> None:
    """An answer that was under way at the stop arrives whole, and its connection is closed."""
    server = gunicorn("worker_demo:app")
    [pid] = server.wait_for_workers()
    answer = server.request_in_thread(f"{path}?until={release.path}")
    server.wait_for_log("held")

    server.signal(signal.SIGTERM)
    wait_for(lambda: "draining" in server.title(pid), "the drain")
    release()
    status, headers, text = answer.result()
    code = server.wait()

    assert (200, 0) == (status, code)
    assert ("first\nlast\n" if path == "/stream" else "released") == text
    assert path == "/stream" or headers["connection"] == "close"
    assert 1 == server.log.count("hook: shutdown")


def test_sigterm_may_come_more_than_once(
    gunicorn: Callable[..., Gunicorn], release: Release
) -> None:
    """gunicorn repeats SIGTERM: a second one does not cut what the first one lets end."""
    server = gunicorn("worker_demo:app")
    [pid] = server.wait_for_workers()
    answer = server.request_in_thread(f"/hold?until={release.path}")
    server.wait_for_log("held")

    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: "draining" in server.title(pid), "the drain")
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGTERM)
    release()
    server.wait_for_log("Worker exiting")

    assert 200 == answer.result()[0]
    assert 1 == server.log.count(f"hook: shutdown {pid}")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_sigterm_closes_websockets_with_1001(
    gunicorn: Callable[..., Gunicorn], loop: str
) -> None:
    """A client learns from the close code that the server goes away, and not by a cut."""
    server = gunicorn("worker_demo:app", "--asgi-loop", loop)

    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as ws:
        await ws.send_str("hello")
        await ws.receive_str()
        server.signal(signal.SIGTERM)
        message = await ws.receive()
    code = await asyncio.to_thread(server.wait)

    assert (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY) == (message.type, message.data)
    assert 0 == code
    assert 1 == server.log.count("hook: shutdown")
    assert "ERROR" not in server.log


@pytest.mark.parametrize(
    "number, path",
    [
        (signal.SIGINT, "/hold"),
        (signal.SIGQUIT, "/hold"),
        (signal.SIGINT, "/hold-sync"),
        (signal.SIGINT, "/stream"),
    ],
)
def test_a_quick_stop_does_not_wait_for_requests(
    gunicorn: Callable[..., Gunicorn], hooks: str, release: Release, number: int, path: str
) -> None:
    """SIGINT and SIGQUIT end a worker that is busy, at once and with its hooks."""
    server = gunicorn("worker_demo:app", "--graceful-timeout", "60", "--config", hooks)
    [pid] = server.wait_for_workers()
    answer = server.request_in_thread(f"{path}?until={release.path}")
    server.wait_for_log("held")

    code = server.stop(number)

    assert 0 == code
    assert isinstance(answer.exception(), http.client.HTTPException | ConnectionError)
    assert 1 == server.log.count(f"hook: shutdown {pid}")
    assert 1 == server.log.count(f"hook: worker_exit {pid}")
    assert "SIGKILL" not in server.log


@pytest.mark.parametrize("path", ["/hold", "/hold-sync"])
def test_a_quick_stop_ends_a_drain(
    gunicorn: Callable[..., Gunicorn], release: Release, path: str
) -> None:
    """Who has stopped gunicorn and loses patience sends SIGINT, and need not wait any longer."""
    server = gunicorn("worker_demo:app", "--graceful-timeout", "60")
    [pid] = server.wait_for_workers()
    server.request_in_thread(f"{path}?until={release.path}")
    server.wait_for_log("held")
    server.signal(signal.SIGTERM)
    wait_for(lambda: "draining" in server.title(pid), "the drain")

    code = server.stop(signal.SIGINT)

    assert 0 == code
    assert 1 == server.log.count(f"hook: shutdown {pid}")
    assert "SIGKILL" not in server.log


def test_a_drain_ends_before_the_master_loses_patience(
    gunicorn: Callable[..., Gunicorn], hooks: str, release: Release
) -> None:
    """What outlasts the graceful timeout is cancelled in time for the hooks to run."""
    server = gunicorn("worker_demo:app", "--graceful-timeout", "2", "--config", hooks)
    [pid] = server.wait_for_workers()
    server.request_in_thread(f"/hold?until={release.path}")
    server.wait_for_log("held")

    code = server.stop(signal.SIGTERM)

    assert 0 == code
    assert "1 requests were cancelled at the stop" in server.log
    assert 1 == server.log.count(f"hook: shutdown {pid}")
    assert 1 == server.log.count(f"hook: worker_exit {pid}")
    assert "SIGKILL" not in server.log


async def test_uvloop_stops_on_the_same_signals(
    gunicorn: Callable[..., Gunicorn], release: Release
) -> None:
    """The handlers wake uvloop as they wake asyncio's loop."""
    pytest.importorskip("uvloop")
    server = gunicorn("worker_demo:app", "--asgi-loop", "uvloop", "--graceful-timeout", "60")
    [pid] = await asyncio.to_thread(server.wait_for_workers)
    answer = server.request_in_thread(f"/hold?until={release.path}")
    await eventually(lambda: "held" in server.log, "the request")

    server.signal(signal.SIGTERM)
    await eventually(lambda: "draining" in server.title(pid), "the drain")
    code = await asyncio.to_thread(server.stop, signal.SIGQUIT)

    assert 0 == code
    assert isinstance(answer.exception(), http.client.HTTPException | ConnectionError)
