"""The worker speaks TLS with gunicorn's own context, and HTTP/1.1 inside it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import ssl
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from harness import PATIENCE, Gunicorn

# A context that offers what aiohttp does not speak, as gunicorn's own does with http_protocols.
OFFER_H2 = """
def ssl_context(config, default_ssl_context_factory):
    context = default_ssl_context_factory()
    context.set_alpn_protocols(["h2", "http/1.1"])
    print("hook: ssl_context", flush=True)
    return context
"""


def options(certificate: tuple[str, str], *more: str) -> tuple[str, ...]:
    return ("--certfile", certificate[0], "--keyfile", certificate[1], *more)


async def test_requests_and_websockets_pass_through_tls(
    gunicorn: Callable[..., Gunicorn], certificate: tuple[str, str]
) -> None:
    """The application sees https, and sockets work over wss."""
    server = gunicorn("worker_demo:app", *options(certificate))
    context = ssl.create_default_context(cafile=certificate[0])
    connector = aiohttp.TCPConnector(ssl=context)
    url = server.url.replace("http://", "https://")

    async with aiohttp.ClientSession(url, connector=connector) as session:
        async with session.get("/environ") as response:
            environ = await response.json(content_type=None)
        async with session.ws_connect("/ws") as ws:
            await ws.send_str("hello")
            answer = await ws.receive_str()

    assert "https" == environ["wsgi.url_scheme"]
    assert answer.endswith(" hello")


async def test_http_1_1_is_negotiated_whatever_the_context_offers(
    gunicorn: Callable[..., Gunicorn], certificate: tuple[str, str], tmp_path: Path
) -> None:
    """A client that would rather have HTTP/2 is told that there is none."""
    config = tmp_path / "h2.py"
    config.write_text(OFFER_H2)
    server = gunicorn("worker_demo:app", *options(certificate, "--config", str(config)))
    context = ssl.create_default_context(cafile=certificate[0])
    context.set_alpn_protocols(["h2", "http/1.1"])

    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    protocol = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    writer.close()
    await writer.wait_closed()

    assert "http/1.1" == protocol
    assert 1 == server.log.count("hook: ssl_context")


def test_a_client_without_the_certificate_that_is_asked_for_is_refused(
    gunicorn: Callable[..., Gunicorn], certificate: tuple[str, str]
) -> None:
    """--cert-reqs holds: no request without the client's certificate, one with it is served."""
    asking = ("--cert-reqs", str(int(ssl.CERT_REQUIRED)), "--ca-certs", certificate[0])
    server = gunicorn("worker_demo:app", *options(certificate, *asking))

    def get(context: ssl.SSLContext) -> str:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", server.port, timeout=PATIENCE, context=context
        )
        with contextlib.closing(connection):
            connection.request("GET", "/async")
            return connection.getresponse().read().decode()

    anonymous = ssl.create_default_context(cafile=certificate[0])
    known = ssl.create_default_context(cafile=certificate[0])
    known.load_cert_chain(*certificate)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(anonymous)

    assert get(known).startswith("loop ")


async def test_a_client_that_speaks_no_tls_disturbs_nobody(
    gunicorn: Callable[..., Gunicorn], certificate: tuple[str, str]
) -> None:
    """Plain HTTP at a TLS port is cut off without a traceback, and the next client is served."""
    server = gunicorn("worker_demo:app", *options(certificate))
    context = ssl.create_default_context(cafile=certificate[0])
    url = server.url.replace("http://", "https://")

    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /async HTTP/1.1\r\nHost: a\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        plain = await reader.read()
        assert b"HTTP/1.1" not in plain
    writer.close()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/async", ssl=context) as response,
    ):
        answer = await response.text()

    assert answer.startswith("loop ")
    assert "Traceback" not in server.log


def test_a_proxy_header_comes_inside_of_tls(
    gunicorn: Callable[..., Gunicorn], certificate: tuple[str, str]
) -> None:
    """Where gunicorn's own workers look for it."""
    server = gunicorn("policy_app:facts", *options(certificate, "--proxy-protocol"))
    context = ssl.create_default_context(cafile=certificate[0])
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    answer = server.talk(b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n" + request, tls=context)

    assert b'"REMOTE_ADDR": "192.0.2.1"' in answer
    assert b'"wsgi.url_scheme": "https"' in answer


def test_a_refused_client_sees_the_answer_through_tls(
    gunicorn: Callable[..., Gunicorn], certificate: tuple[str, str]
) -> None:
    """Although it goes on sending, and TLS has no half-closed connections."""
    server = gunicorn("policy_app:facts", *options(certificate))
    context = ssl.create_default_context(cafile=certificate[0])

    answer = server.talk(b"GET /", *[b"x" * 10_000] * 10, tls=context)

    assert answer.startswith(b"HTTP/1.1 414 URI Too Long\r\n")
