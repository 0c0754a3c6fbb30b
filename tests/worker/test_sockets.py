"""The worker listens wherever gunicorn binds."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from harness import PATIENCE, Gunicorn, wait_for

from .conftest import Release


async def test_a_unix_socket_is_served(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    """On a Unix socket the peer has no address, and websockets work as well."""
    path = str(tmp_path / "gunicorn.sock")
    server = gunicorn("worker_demo:app", bind=f"unix:{path}")

    connector = aiohttp.UnixConnector(path)
    async with aiohttp.ClientSession("http://example.org", connector=connector) as session:
        async with session.get("/environ") as response:
            environ = await response.json(content_type=None)
        async with session.ws_connect("/ws") as ws:
            await ws.send_str("hello")
            answer = await ws.receive_str()

    assert "" == environ["REMOTE_ADDR"]
    assert "REMOTE_PORT" not in environ
    assert ("example.org", "80") == (environ["SERVER_NAME"], environ["SERVER_PORT"])
    assert f"loop {server.workers[0]} hello" == answer


def test_each_of_several_addresses_is_served(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    """With several binds, the worker answers on each; the environ tells which it was."""
    server = gunicorn("worker_demo:app", "--bind", "127.0.0.2:0", "--bind", f"unix:{tmp_path}/g")
    found = re.findall(r"http://([\d.]+):(\d+)", server.log)

    names = []
    for host, port in found:
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        connection.request("GET", "/environ")
        environ = json.loads(connection.getresponse().read())
        connection.close()
        names.append((environ["SERVER_NAME"], environ["SERVER_PORT"]))

    assert 2 == len(found)
    assert [(host, port) for host, port in found] == names


def test_ipv6_is_served(gunicorn: Callable[..., Gunicorn]) -> None:
    """An IPv6 address is one like any other."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = gunicorn("worker_demo:app", bind="[::1]:0")
    port = int(re.findall(r"http://\[::1\]:(\d+)", server.log)[0])

    connection = http.client.HTTPConnection("::1", port, timeout=PATIENCE)
    connection.request("GET", "/environ")
    environ = json.loads(connection.getresponse().read())
    connection.close()

    assert "::1" == environ["REMOTE_ADDR"]


@pytest.mark.parametrize("options, backlog", [((), 2048), (("--backlog", "77"), 77)])
def test_the_backlog_is_gunicorns(
    gunicorn: Callable[..., Gunicorn], options: tuple[str, ...], backlog: int
) -> None:
    """The number that gunicorn was given stays, where asyncio would listen anew with its own."""
    server = gunicorn("worker_demo:app", *options)
    ceiling = int(Path("/proc/sys/net/core/somaxconn").read_text())

    backlogs = json.loads(server.get("/backlogs"))

    assert [min(backlog, ceiling)] == backlogs


def queued(port: int) -> int:
    """Return how many connections wait to be accepted (proc_net_tcp: rx_queue of a listener)."""
    lines = Path("/proc/net/tcp").read_text().splitlines()
    [line] = [line for line in lines if f":{port:04X} 00000000:0000 0A" in line]
    return int(line.split()[4].partition(":")[2], 16)


@pytest.mark.parametrize("worker", ["flask_aiohttp_worker.Worker", "gthread"])
def test_more_connections_than_a_worker_may_have_wait_in_the_queue(
    gunicorn: Callable[..., Gunicorn], release: Release, worker: str
) -> None:
    """With --worker-connections 2 a third one is not refused, and is served when one has ended."""
    options = ("--worker-connections", "2", "--threads", "4")
    server = gunicorn("worker_demo:app", *options, worker=worker)
    held = [server.request_in_thread(f"/hold-sync?until={release.path}") for _ in range(2)]
    server.wait_for_log("held", 2)

    third = server.request_in_thread("/sync")
    wait_for(lambda: queued(server.port) == 1, "the third connection in the queue")
    early = third.done()
    release()

    assert not early
    assert [200] * 3 == [answer.result()[0] for answer in (*held, third)]


def test_a_port_shared_by_kernel_is_served_by_each_worker(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """With reuse_port each worker has sockets of its own, and the kernel chooses."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        server = gunicorn(
            "worker_demo:app", "--reuse-port", "--workers", "2", bind=f"127.0.0.1:{port}"
        )
        pids = server.wait_for_workers(2)
    server.port = port

    seen = set()
    wait_for(lambda: seen.add(server.get("/async")) or len(seen) == 2, "both workers' answers")

    assert {f"loop {pid}" for pid in pids} == seen


async def test_keepalive_zero_ends_each_connection(gunicorn: Callable[..., Gunicorn]) -> None:
    """With --keep-alive 0 each answer says that it is the last, and it is."""
    server = gunicorn("worker_demo:app", "--keep-alive", "0")

    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /async HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = await reader.read()
    writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer


async def test_an_idle_connection_is_closed_after_the_keepalive(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """A connection carries several requests, and ends when it has been idle long enough."""
    server = gunicorn("worker_demo:app", "--keep-alive", "1")

    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    answers = []
    for _ in range(2):
        writer.write(b"GET /async HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        answers.append(await reader.readexactly(length))
    rest = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()

    assert [f"loop {server.workers[0]}".encode()] * 2 == answers
    assert b"" == rest
