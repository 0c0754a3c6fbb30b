"""A worker that is killed, blocked, orphaned or used up makes way for the next one."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from harness import APPS, PATIENCE, Gunicorn, eventually, wait_for

from .conftest import Release


def pid_of(answer: str) -> int:
    return int(answer.split()[1])


def test_a_killed_worker_is_followed_by_another(gunicorn: Callable[..., Gunicorn]) -> None:
    """After SIGKILL, for example from the kernel when memory is short, a new worker serves."""
    server = gunicorn("worker_demo:app")
    [old] = server.wait_for_workers()

    os.kill(old, signal.SIGKILL)
    wait_for(lambda: old not in server.workers, "the old worker's end")
    [new] = server.wait_for_workers()

    assert new == pid_of(server.get("/async"))
    assert f"Worker (pid:{old}) was sent SIGKILL!" in server.log


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_blocked_loop_is_reported_and_replaced(
    gunicorn: Callable[..., Gunicorn], hooks: str, loop: str
) -> None:
    """The log names the line that blocks, gunicorn's hooks run, and the next worker serves."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    options = ("--timeout", "1", "--asgi-loop", loop, "--config", hooks)
    server = gunicorn("worker_demo:app", *options)
    [old] = server.wait_for_workers()
    server.request_in_thread("/block")

    server.wait_for_log(f"hook: worker_exit {old}")
    wait_for(lambda: old not in server.workers, "the old worker's end")
    [new] = server.wait_for_workers()

    source = (APPS / "worker_demo.py").read_text().splitlines()
    [line] = [n for n, text in enumerate(source, 1) if "the line that the log must name" in text]
    assert f'worker_demo.py", line {line}, in block' in server.log
    assert 1 == server.log.count(f"hook: worker_abort {old}")
    assert "SIGKILL" not in server.log
    assert f"Worker (pid:{old}) exited with code 1." in server.log
    assert new == pid_of(server.get("/async"))


def test_a_worker_without_its_master_ends(
    gunicorn: Callable[..., Gunicorn], release: Release
) -> None:
    """Where gunicorn was killed, its workers end their requests and leave the port to the next."""
    server = gunicorn("worker_demo:app")
    [pid] = server.wait_for_workers()
    answer = server.request_in_thread(f"/hold?until={release.path}")
    server.wait_for_log("held")

    server.process.kill()
    server.wait()
    server.wait_for_log("Parent changed, shutting down")
    release()
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the worker's end")

    assert 200 == answer.result()[0]
    assert 1 == server.log.count(f"hook: shutdown {pid}")


def test_a_worker_that_has_served_enough_is_replaced(gunicorn: Callable[..., Gunicorn]) -> None:
    """With max_requests the last answer closes its connection, and the next worker serves."""
    server = gunicorn("worker_demo:app", "--max-requests", "3")
    [old] = server.wait_for_workers()

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    closed = []
    for _ in range(3):
        connection.request("GET", "/async")
        response = connection.getresponse()
        closed.append((pid_of(response.read().decode()), response.getheader("Connection")))
    connection.close()
    wait_for(lambda: old not in server.workers, "the old worker's end")
    [new] = server.wait_for_workers()
    later = [pid_of(server.get("/async")) for _ in range(2)]

    assert [(old, None), (old, None), (old, "close")] == closed
    assert [new, new] == later
    assert 1 == server.log.count("Autorestarting worker after current request.")


async def test_a_worker_that_is_used_up_lets_websockets_go(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """A websocket counts as one request, and those still open at the last one get 1012."""
    server = gunicorn("worker_demo:app", "--max-requests", "2")

    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as ws:
        await ws.send_str("hello")
        old = pid_of(await ws.receive_str())
        async with session.get("/async") as response:
            last = pid_of(await response.text())
        message = await ws.receive()
    await eventually(lambda: old not in server.workers, "the worker's end")

    assert old == last
    assert aiohttp.WSMsgType.CLOSE is message.type
    assert aiohttp.WSCloseCode.SERVICE_RESTART == message.data


def test_a_view_that_ends_the_process_is_no_reason_to_stop_serving(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """sys.exit() in a view is that request's failure, in a thread and on the loop."""
    server = gunicorn("worker_demo:app")
    [pid] = server.wait_for_workers()

    statuses = [server.request(path)[0] for path in ("/exit-sync", "/exit-async")]

    assert [500, 500] == statuses
    assert pid == pid_of(server.get("/async"))


def test_a_stop_hook_that_fails_does_not_keep_the_worker(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """Each stop hook runs, whatever another one raises, and the worker ends with 0."""
    server = gunicorn("worker_boot:failing_at_the_stop")
    server.wait_for_workers()

    code = server.stop(signal.SIGTERM)

    assert 0 == code
    assert "RuntimeError: cannot close" in server.log
    assert "hook: the other one" in server.log
    assert "exited with code" not in server.log
