"""Settings that gunicorn made for its ASGI worker, and that this worker honours too."""

from __future__ import annotations

import socket
from pathlib import Path

import aiohttp
from harness import PATIENCE, Gunicorn

from .conftest import Start


async def test_a_message_has_a_largest_size(configured: Start) -> None:
    """``websocket_max_message_size``: one byte more closes the socket with 1009."""
    server = configured("websocket_max_message_size = 11\n")

    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as ws:
        await ws.send_str("eleven byte")
        echo = await ws.receive_str(timeout=PATIENCE)
        await ws.send_str("twelve bytes")
        await ws.receive(PATIENCE)

    assert ("eleven byte", 1009) == (echo, ws.close_code)


def leave(server: Gunicorn, path: str) -> None:
    """Send a request, and leave once its view runs."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        server.wait_for_log("waiting")


def test_a_view_without_a_client_is_cancelled(configured: Start) -> None:
    """Where it has asked for that, after ``asgi_disconnect_grace_period``: here at once."""
    server = configured("asgi_disconnect_grace_period = 0\n")

    leave(server, "/cancelled")

    server.wait_for_log("cancelled")


def test_a_view_has_some_time_to_end_without_its_client(configured: Start, tmp_path: Path) -> None:
    """Within the period it ends by itself."""
    server = configured("asgi_disconnect_grace_period = 600\n")
    until = tmp_path / "until"

    leave(server, f"/cancelled?until={until}")
    server.wait_for_log("client has left")
    until.touch()

    server.wait_for_log("ended")
    assert "cancelled" not in server.log


def test_gunicorns_other_processes_are_reached_from_views(configured: Start) -> None:
    """``dirty_apps`` and the settings beside it, from an async view and from a sync one."""
    hooks = (
        ("on_dirty_starting", "arbiter"),
        ("dirty_post_fork", "arbiter, worker"),
        ("dirty_worker_init", "worker"),
        ("dirty_worker_exit", "arbiter, worker"),
    )
    server = configured(
        "dirty_apps = ['settings_dirty:Adder']\n"
        "dirty_workers, dirty_threads, dirty_timeout, dirty_graceful_timeout = 1, 2, 20, 5\n"
        + "".join(
            f"def {name}({arguments}):\n    print('HOOK {name}', flush=True)\n"
            for name, arguments in hooks
        ),
        app="settings_dirty:app",
    )
    server.wait_for_log("HOOK dirty_worker_init")

    answers = server.get("/async"), server.get("/sync")
    server.stop()

    assert ("3", "3") == answers
    # Whether "dirty_worker_exit" is called at a stop is between gunicorn and its own processes: on
    # Python 3.13 it is not, whatever the worker class.
    missing = {name for name, _ in hooks if f"HOOK {name}" not in server.log}
    assert missing <= {"dirty_worker_exit"}
