"""A worker that is told to go while it is very busy loses nothing of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from harness import Gunicorn, eventually, wait_for

from .conftest import Release

BODY = b"x" * 100_000


class Traffic:
    """Many requests of each kind under way on one worker."""

    def __init__(self, port: int, release: Release) -> None:
        self._port = port
        self._until = release.path
        self._halves = asyncio.Event()
        self.answers: list[asyncio.Task[bytes]] = []
        self.streams: list[asyncio.Task[bytes]] = []
        self.uploads: list[asyncio.Task[bytes]] = []
        self.sockets: list[aiohttp.ClientWebSocketResponse] = []

    async def begin(self, session: aiohttp.ClientSession, requests: int, others: int) -> None:
        """Begin *requests* requests and as many websockets, *others* uploads and streams."""
        start = asyncio.create_task
        until = self._until
        self.answers = [start(self._get(f"/wait?until={until}")) for _ in range(requests)]
        self.streams = [start(self._get(f"/stream?until={until}")) for _ in range(others)]
        self.uploads = [start(self._upload()) for _ in range(others)]
        for _ in range(requests):
            ws = await session.ws_connect("/ws")
            await ws.send_str("hello")
            await ws.receive_str()
            self.sockets.append(ws)

    def send_the_rest(self) -> None:
        """Let each upload send its second half."""
        self._halves.set()

    async def _get(self, target: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer

    async def _upload(self) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
        writer.write(head.encode() + BODY[:1000])
        await self._halves.wait()
        writer.write(BODY[1000:])
        answer = await reader.read()
        writer.close()
        return answer


async def close_code(ws: aiohttp.ClientWebSocketResponse) -> int:
    message = await ws.receive()
    await ws.close()
    return message.data if message.type is aiohttp.WSMsgType.CLOSE else 0


@pytest.mark.load
@pytest.mark.parametrize("way, code", [("TERM", 1001), ("HUP", 1012), ("reload", 1012)])
async def test_all_that_can_end_ends(
    gunicorn: Callable[..., Gunicorn],
    hooks: str,
    release: Release,
    tmp_path: Path,
    way: str,
    code: int,
) -> None:
    """200 requests, 50 uploads, 50 streams and 200 websockets: none is cut, all hooks run."""
    changing = tmp_path / "changing.py"
    changing.write_text("from busy_app import app\n")
    options = ("--reload", "--reload-engine", "poll") if way == "reload" else ()
    server = gunicorn(
        "changing:app",
        *("--config", hooks, "--chdir", str(tmp_path), "--worker-connections", "2000", *options),
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    [pid] = await asyncio.to_thread(server.wait_for_workers)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(server.url, connector=connector) as session:
        traffic = Traffic(server.port, release)
        await traffic.begin(session, 200, 50)
        await eventually(lambda: server.log.count("held") == 300, "the requests")

        if way == "reload":
            changing.write_text("from busy_app import app  # anew\n")
        else:
            server.signal(getattr(signal, f"SIG{way}"))
        codes = [await close_code(traffic.sockets[0])]
        traffic.send_the_rest()
        release()
        codes += await asyncio.gather(*map(close_code, traffic.sockets[1:]))
        answers = await asyncio.gather(*traffic.answers)
        streams = await asyncio.gather(*traffic.streams)
        uploads = await asyncio.gather(*traffic.uploads)
    await asyncio.to_thread(wait_for, lambda: pid not in server.workers, "the worker's end")
    exit_code = await asyncio.to_thread(server.stop) if way != "TERM" else server.wait()

    assert [code] * 200 == codes
    assert all(answer.endswith(b"\r\n\r\nwaited") for answer in answers)
    assert all(answer.endswith(b"0\r\n\r\n") and b" last" in answer for answer in streams)
    assert all(answer.endswith(b"\r\n\r\n100000") for answer in uploads)
    assert 0 == exit_code
    assert 1 == server.log.count(f"hook: shutdown {pid}")
    assert 1 == server.log.count(f"hook: worker_exit {pid}")
    for word in ("SIGKILL", "cancelled at the stop", "ERROR", "Traceback"):
        assert word not in server.log


@pytest.mark.parametrize("shared", [False, True], ids=["the master's socket", "reuse_port"])
def test_what_the_kernel_has_queued_is_served(
    gunicorn: Callable[..., Gunicorn], release: Release, shared: bool
) -> None:
    """Who has connected and was not accepted when the stop began gets an answer, and no reset."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
        bind = f"127.0.0.1:{address[1]}" if shared else "127.0.0.1:0"
        server = gunicorn("busy_app:app", *(["--reuse-port"] if shared else []), bind=bind)
        server.wait_for_workers()
    server.port = address[1] if shared else server.port
    server.request_in_thread(f"/block?until={release.path}")
    server.wait_for_log("blocking")
    queued = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    for client in queued:
        client.sendall(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n")

    server.signal(signal.SIGTERM)
    server.wait_for_log("Handling signal: term")
    release()
    answers = [client.makefile("rb").read() for client in queued]
    code = server.wait()
    for client in queued:
        client.close()

    assert 0 == code
    assert all(answer.endswith(b"\r\n\r\nshort") for answer in answers)


async def test_an_endless_stream_of_events_ends_with_the_worker(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """Its browser comes back by itself, so it does not hold the old worker."""
    server = gunicorn("busy_app:app", "--graceful-timeout", "3600")
    await asyncio.to_thread(server.wait_for_workers)

    async with aiohttp.ClientSession(server.url) as session, session.get("/events") as response:
        await eventually(lambda: "held" in server.log, "the request")
        server.signal(signal.SIGTERM)
        text = await response.text()
    code = await asyncio.to_thread(server.wait)

    assert "data: first\n\n" == text
    assert 0 == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_blocked_loop_does_not_hold_a_quick_stop(
    gunicorn: Callable[..., Gunicorn], hooks: str, release: Release, number: int
) -> None:
    """Who interrupts a worker whose loop stands still need not wait for it, nor ask twice."""
    server = gunicorn("busy_app:app", "--config", hooks, "--graceful-timeout", "3600")
    [pid] = server.wait_for_workers()
    server.request_in_thread(f"/block?until={release.path}")
    server.wait_for_log("blocking")

    os.kill(pid, number)
    code = server.stop(number)

    assert 0 == code
    assert 1 == server.log.count(f"hook: worker_int {pid}")
    assert 1 == server.log.count(f"hook: worker_exit {pid}")
    assert "SIGKILL" not in server.log


def test_a_blocked_loop_does_not_outlast_the_graceful_timeout(
    gunicorn: Callable[..., Gunicorn], hooks: str, release: Release
) -> None:
    """After HUP gunicorn kills nobody: a worker whose loop stands still ends itself."""
    options = ("--graceful-timeout", "2", "--timeout", "3600")
    server = gunicorn("busy_app:app", "--config", hooks, *options)
    [pid] = server.wait_for_workers()
    server.request_in_thread(f"/block?until={release.path}")
    server.wait_for_log("blocking")

    server.signal(signal.SIGHUP)
    wait_for(lambda: pid not in server.workers, "the end of the old worker")

    assert 1 == server.log.count(f"hook: worker_exit {pid}")
    assert "SIGKILL" not in server.log
