"""Behind a proxy that speaks the PROXY protocol, the client is who the proxy says it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from aiohttp import web
from harness import connect, get, serve

from flask_aiohttp._policy import Addresses, Policy
from flask_aiohttp._proxy_protocol import ProxyProtocol

TEXT = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n"
BINARY = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x12\x67\1\xbb"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"

SAID = {"REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "4711"}
SAID |= {"PROXY_ADDR": "192.0.2.2", "PROXY_PORT": "443", "PROXY_PROTOCOL": "TCP4"}


def facts(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """An application that answers with what it knows of the connection."""
    names = [*SAID, "wsgi.url_scheme"]
    body = json.dumps({name: environ[name] for name in names if name in environ}).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


async def ask(pieces: Iterable[bytes], **settings: Any) -> tuple[bytes, bytes]:
    """Send *pieces* on one connection; return the head and the body of what comes back."""
    async with serve(facts, **settings) as served:
        reader, writer = await connect(served, b"")
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        writer.write_eof()
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    return head, body


@pytest.mark.parametrize("header", [TEXT, BINARY])
async def test_the_client_is_who_the_proxy_says(header: bytes) -> None:
    """In the environ; the header may come in any number of pieces."""
    data = header + get("/")

    for pieces in ([data], [header, get("/")], [data[i : i + 1] for i in range(len(data))]):
        _, body = await ask(pieces, proxy_protocol=ProxyProtocol())
        assert json.loads(body) == SAID | {"wsgi.url_scheme": "http"}


async def test_it_holds_for_each_request_of_the_connection() -> None:
    """The header comes once."""
    _, body = await ask([TEXT + get("/") + get("/")], proxy_protocol=ProxyProtocol())

    assert 2 == body.count(b'"REMOTE_ADDR": "192.0.2.1"')


@pytest.mark.parametrize(("header", "protocol"), [(LOCAL, "LOCAL"), (b"", None)])
async def test_the_proxys_own_requests_are_its_own(header: bytes, protocol: str | None) -> None:
    """Its health checks say LOCAL, or nothing."""
    _, body = await ask([header + get("/")], proxy_protocol=ProxyProtocol())

    found = json.loads(body)
    assert "127.0.0.1" == found["REMOTE_ADDR"]
    assert protocol == found.get("PROXY_PROTOCOL")
    assert "PROXY_ADDR" not in found


@pytest.mark.parametrize(("trusted", "scheme"), [("127.0.0.1", "https"), ("192.0.2.1", "http")])
async def test_trust_is_in_the_proxy_and_not_in_its_client(trusted: str, scheme: str) -> None:
    """forwarded_allow_ips means who is connected, as with gunicorn."""
    request = b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n\r\n"
    policy = Policy(proxies=Addresses.of(trusted))

    _, body = await ask([TEXT + request], proxy_protocol=ProxyProtocol(), policy=policy)

    assert scheme == json.loads(body)["wsgi.url_scheme"]


@pytest.mark.parametrize(
    ("data", "senders", "status"),
    [
        (TEXT, Addresses(), b"403 Forbidden"),
        (BINARY, Addresses.of("192.0.2.0/24"), b"403 Forbidden"),
        (b"PROXY TCP4 nonsense\r\n", Addresses.of("*"), b"400 Bad Request"),
        (b"PROXY " + b"x" * 200, Addresses.of("*"), b"400 Bad Request"),
        (TEXT + TEXT, Addresses.of("*"), b"400 Bad Request"),
    ],
)
async def test_a_refused_header_ends_the_connection(
    data: bytes, senders: Addresses, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """One answer, one line in the log, and no request behind it is served."""
    settings = {"proxy_protocol": ProxyProtocol(senders=senders)}

    head, body = await ask([data, get("/"), get("/")], **settings)

    assert head.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"HTTP/1.1" not in body
    assert ["WARNING"] == [record.levelname for record in caplog.records]
    assert "Invalid request from ip=" in caplog.text


async def test_without_the_setting_a_header_is_no_request() -> None:
    """By default nobody's word counts."""
    head, _ = await ask([TEXT + get("/")])

    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_native_routes_see_the_same_client() -> None:
    """aiohttp's request.remote."""

    async def remote(request: web.Request) -> web.Response:
        return web.Response(text=str(request.remote))

    app = web.Application()
    app.router.add_get("/", remote)
    async with serve(app, proxy_protocol=ProxyProtocol()) as served:
        reader, writer = await connect(served, TEXT + get("/"))
        answer = await reader.readuntil(b"192.0.2.1")
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_client_that_hangs_up_in_its_header_is_forgotten() -> None:
    """No task and no connection is left."""
    head, body = await ask([TEXT[:20]], proxy_protocol=ProxyProtocol())

    assert (b"", b"") == (head, body)


async def test_a_header_has_the_time_of_a_head() -> None:
    """Whoever begins one and stops is cut off."""
    async with serve(facts, proxy_protocol=ProxyProtocol(), head_timeout=0.2) as served:
        reader, writer = await connect(served, TEXT[:20])
        answer = await reader.read()
        writer.close()

    assert b"" == answer
