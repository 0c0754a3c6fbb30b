"""The shipped nginx site passes on everything that the worker can do, and nothing forged."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
import pytest
from harness import PATIENCE, wait_for

from deployment.serving import Site


def connect(site: Site) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(
        "localhost", site.port, timeout=PATIENCE, context=site.context
    )


def fetch(site: Site, path: str, method: str = "GET", **kwargs: Any) -> tuple[int, bytes]:
    connection = connect(site)
    try:
        connection.request(method, path, **kwargs)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_application_sees_the_client_through_the_proxy(site: Site) -> None:
    """Address, host and scheme are those that the browser has."""
    status, body = fetch(site, "/whoami")
    seen = json.loads(body)

    assert 200 == status
    assert ("127.0.0.1", f"localhost:{site.port}") == (seen["address"], seen["host"])
    assert "https" == seen["scheme"]


def test_what_a_client_forges_has_no_effect(site: Site) -> None:
    """Headers that speak for a proxy are the proxy's, also under names that look alike."""
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X_Forwarded_For": "6.6.6.6",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Ssl": "off",
        "X-Forwarded-Protocol": "tcp",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=6.6.6.6",
        "Proxy": "http://evil.example",
    }

    honest, cheated = fetch(site, "/whoami"), fetch(site, "/whoami", headers=forged)

    assert honest == cheated


def test_plain_http_is_sent_to_tls(site: Site) -> None:
    """A page is never served without TLS."""
    port = site.nginx.port(site.nginx.http)
    connection = http.client.HTTPConnection("localhost", port, timeout=PATIENCE)
    connection.request("GET", "/whoami?a=1")
    response = connection.getresponse()
    connection.close()

    assert 301 == response.status
    assert "https://localhost/whoami?a=1" == response.headers["Location"]


def test_static_files_do_not_pass_through_the_application(site: Site) -> None:
    """nginx serves what is below /static/ itself."""
    assert (200, b"a file") == fetch(site, "/static/file.txt")


def test_an_upload_of_100_mib_arrives(site: Site) -> None:
    """Large bodies pass, piece by piece."""
    piece = bytes(1 << 20)

    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield piece

    headers = {"Content-Length": str(100 << 20)}

    assert (200, b"104857600") == fetch(site, "/upload", "POST", body=body(), headers=headers)


def test_events_are_not_held_back(site: Site) -> None:
    """The first event arrives while the second one has not happened yet."""
    connection = connect(site)
    connection.request("GET", "/events")
    response = connection.getresponse()
    first = response.readline()
    site.released.touch()
    rest = response.read()
    connection.close()

    assert b"data: one\n" == first
    assert b"\ndata: two\n\n" == rest


async def test_websockets_pass(site: Site) -> None:
    """A page of this site opens one, and the view knows its client; a page of another cannot."""
    url = f"https://localhost:{site.port}"
    connector = aiohttp.TCPConnector(ssl=site.context)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        async with session.ws_connect("/ws", origin=url) as ws:
            await ws.send_str("hello")
            answer = await ws.receive_str()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect("/ws", origin="https://evil.example")

    assert "https 127.0.0.1 hello" == answer
    assert 403 == refused.value.status


@pytest.mark.load
def test_reloads_under_load_lose_no_request(site: Site) -> None:
    """Three times HUP while four clients go on asking: each request is answered with 200."""
    stop = threading.Event()

    def ask(path: str) -> list[int]:
        statuses = []
        connection = connect(site)
        while not stop.is_set():
            connection.request("POST" if path == "/upload" else "GET", path, body=b"x" * 1000)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
        return statuses

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, path) for path in ("/sync", "/async", "/upload", "/async")]
        try:
            for _ in range(3):
                old = {*site.gunicorn.wait_for_workers(2)}
                site.gunicorn.signal(signal.SIGHUP)
                wait_for(lambda o=old: not o & {*site.gunicorn.workers}, "the old workers' end")
        finally:
            stop.set()
    statuses = [status for future in asked for status in future.result()]

    assert {200} == {*statuses}
    assert len(statuses) > 100
