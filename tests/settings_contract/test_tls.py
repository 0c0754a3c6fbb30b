"""TLS is what the settings say, with gunicorn's own context."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP

import pytest
from harness import PATIENCE, Gunicorn

from .conftest import Start

CIPHER = "ECDHE-ECDSA-AES256-GCM-SHA384"

COUNT_CONTEXTS = """
def ssl_context(config, default_ssl_context_factory):
    context = default_ssl_context_factory()
    print("HOOK ssl_context", flush=True)
    return context
"""

Certificate = tuple[str, str]


@pytest.fixture(name="make_certificate")
def _make_certificate(
    tmp_path: Path, require: Callable[[str], str]
) -> Callable[[str], Certificate]:
    """Make a certificate for 127.0.0.1 and its key, and return their paths."""

    def make(name: str) -> Certificate:
        certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        command = [
            *(require("openssl"), "req", "-x509", "-nodes", "-days", "1"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ]
        subprocess.run(command, check=True, capture_output=True)
        return str(certificate), str(key)

    return make


def tls(certificate: Certificate, more: str = "") -> str:
    return f"certfile, keyfile = {certificate!r}\n{more}\n"


def get(server: Gunicorn, context: ssl.SSLContext, path: str = "/sync") -> tuple[str, ...]:
    """Return the answer's text, the protocol's version, the cipher, and who the server is."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", server.port, timeout=PATIENCE, context=context
    )
    with contextlib.closing(connection):
        connection.request("GET", path)
        sock = connection.sock
        subject = dict(pair for [pair] in sock.getpeercert()["subject"])
        facts = (sock.version(), sock.cipher()[0], subject["commonName"])
        return connection.getresponse().read().decode(), *facts


def test_ciphers_are_those_that_were_given(
    configured: Start, make_certificate: Callable[[str], Certificate], worker: str
) -> None:
    """``ciphers``, of TLS 1.2; a client that has no such one is refused."""
    certificate = make_certificate("shop")
    server = configured(tls(certificate, f"ciphers = {CIPHER!r}"), worker=worker)
    context = ssl.create_default_context(cafile=certificate[0])
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    answer = get(server, context)
    context.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")

    assert ("sync", "TLSv1.2", CIPHER, "shop") == answer
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(server, context)


def test_hup_reads_the_certificate_anew(
    configured: Start, make_certificate: Callable[[str], Certificate], worker: str
) -> None:
    """Whoever renews certificates sends HUP to the master."""
    old = make_certificate("old")
    server = configured(tls(old), worker=worker)
    before = get(server, ssl.create_default_context(cafile=old[0]))[3]

    new = make_certificate("new")
    server.signal(SIGHUP)
    server.wait_for_log("Worker exiting")
    context = ssl.create_default_context(cafile=new[0])

    assert ("old", "new") == (before, get(server, context)[3])


def test_the_hook_makes_one_context_for_each_worker(
    configured: Start, make_certificate: Callable[[str], Certificate]
) -> None:
    """gthread calls it for each connection."""
    certificate = make_certificate("shop")
    server = configured(tls(certificate, COUNT_CONTEXTS))
    context = ssl.create_default_context(cafile=certificate[0])

    for _ in range(3):
        get(server, context)

    assert 1 == server.log.count("HOOK ssl_context")


def test_a_handshake_that_fails_is_one_line_at_most(
    configured: Start, make_certificate: Callable[[str], Certificate], worker: str
) -> None:
    """A warning with the client's address, no traceback, and nobody else notices.

    A client without the certificate that is asked for, one that speaks plain HTTP, and one that
    leaves without a word, which is no line at all.
    """
    certificate = make_certificate("shop")
    asking = f"cert_reqs = {int(ssl.CERT_REQUIRED)}\nca_certs = {certificate[0]!r}"
    server = configured(tls(certificate, asking), worker=worker)
    anonymous = ssl.create_default_context(cafile=certificate[0])
    known = ssl.create_default_context(cafile=certificate[0])
    known.load_cert_chain(*certificate)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(server, anonymous)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b" 200 " not in sock.recv(4096)
    socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE).close()
    answer = get(server, known)[0]

    lines = re.findall(r"\[WARNING\] Invalid request from ip=127\.0\.0\.1: \[SSL", server.log)
    assert "sync" == answer
    assert 2 == len(lines)
    assert "Traceback" not in server.log
