"""The same bytes give the same environ as under gunicorn's own gthread, but for what is listed."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from harness import PATIENCE, Gunicorn


def get(target: bytes, *lines: bytes, version: bytes = b"1.1", method: bytes = b"GET") -> bytes:
    """Return a request without a body, with a Host unless the lines say otherwise."""
    host = [] if version == b"1.0" or any(line[:5] == b"Host:" for line in lines) else [b"Host: h"]
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, target, version), *host, *lines, b"", b""])


def post(body: bytes, *lines: bytes) -> bytes:
    return get(b"/", *lines, method=b"POST") + body


REQUESTS = {
    "plain": get(b"/"),
    "http/1.0": get(b"/a", version=b"1.0"),
    "http/1.0, kept": get(b"/a", b"Connection: keep-alive", b"Host: h", version=b"1.0"),
    "query": get(b"/a/b?x=1&y=%20+&z=%C3%A9", b"Host: h:8000"),
    "empty query": get(b"/a?"),
    "query with a question": get(b"/a?b?c"),
    "percent": get(b"/%e2%82%ac/%2F/%25/%00/%ff/%zz/%a"),
    "dots and slashes": get(b"//a/../b/./c"),
    "parameters": get(b"/a;b=c/d:e@f"),
    "absolute form": get(b"http://other:99/a%20b?c"),
    "absolute form without a path": get(b"http://other", b"Host: other"),
    "absolute form with a query only": get(b"http://other?x", b"Host: other"),
    "repeated lines": get(b"/", b"X-A: 1", b"x-a: 2", b"X-A:3", b"Cookie: a=1", b"Cookie: b=2"),
    "bytes and blanks": get(b"/", b"X-A: \xe9\xff \t end \t", b"X-Empty:", b"X-Tab: a\tb"),
    "odd names": get(b"/", b"x-!#$%&'*+.^`|~: 3", b"X.Y: d", b"Script-Name: s"),
    "underscores": get(b"/", b"X_A: 1", b"X-A: 2", b"Content_Length: 3"),
    "httpoxy": get(b"/", b"Proxy: http://evil"),
    "spelling": b"GET / HTTP/1.1\r\nhOsT: h\r\nCONTENT-type: text/x\r\n\r\n",
    "conditional": get(b"/", b'If-None-Match: "x"', b"Range: bytes=0-1", b"Authorization: Basic x"),
    "what a proxy says": get(b"/", b"X-Forwarded-For: 1.2.3.4", b"X-Forwarded-Proto: https"),
    "refused upgrade": get(b"/", b"Connection: Upgrade", b"Upgrade: h2c"),
    "address of IPv6 as host": get(b"/", b"Host: [::1]:80"),
    "body": post(b"abc", b"Content-Type: text/plain; charset=x", b"Content-Length: 3"),
    "empty body": post(b"", b"Content-Length: 0"),
    "length with zeros": post(b"abc", b"Content-Length: 0003"),
    "chunks": post(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"Transfer-Encoding: chunked"),
    "trailers": post(
        b"3\r\nabc\r\n0\r\nX-T: v\r\n\r\n", b"Trailer: X-T", b"Transfer-Encoding: chunked"
    ),
    "expectation": post(b"abc", b"Expect: 100-continue", b"Content-Length: 3"),
    "compressed": post(b"abc", b"Content-Encoding: gzip", b"Content-Length: 3"),
    "other methods": get(b"/", method=b"PROPFIND"),
}

# What differs in every request.
ALWAYS = {
    # aiohttp owns it: whoever read or wrote it would break the connection.
    "gunicorn.socket": ("object", None),
    # Whether the client is still there: has_client().
    "flask_aiohttp.client": (None, "object"),
}

# What differs in one of them besides. PEP 3333: an empty path is "/" in HTTP, and Werkzeug joins
# it to an empty SCRIPT_NAME.
SOMETIMES: dict[str, dict[str, tuple[Any, Any]]] = {
    "absolute form without a path": {"PATH_INFO": ("", "/")},
    "absolute form with a query only": {"PATH_INFO": ("", "/")},
    # A CGI program behind the application takes it for a setting (https://httpoxy.org).
    "httpoxy": {"HTTP_PROXY": ("http://evil", None)},
}

# What differs behind a Unix socket: PEP 3333 says that neither can be empty, and the path of the
# socket is no name of a server.
UNIX: dict[str, dict[str, tuple[Any, Any]]] = {
    "http/1.0": {"SERVER_NAME": ("the socket", "localhost"), "SERVER_PORT": ("", "80")},
    "address of IPv6 as host": {"SERVER_NAME": ("[", "[::1]"), "SERVER_PORT": ("", "80")},
}


# What gthread serves and this worker answers with 400.
REFUSED = {
    # RFC 9112, section 3.2: the target of a request has no fragment; a Host is due.
    "fragment": get(b"/a#b"),
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    # aiohttp's parser knows the methods that are registered with IANA, and some more.
    "unknown method": get(b"/", method=b"FOO"),
}


class Recorder:
    """A gunicorn that answers with the environ, and one way to it."""

    def __init__(self, server: Gunicorn, path: str = "", context: Any = None) -> None:
        self.server = server
        self.path = path
        self.context = context

    def answer(self, request: bytes) -> tuple[int, bytes]:
        """Send *request* and return status and body of the answer."""
        with self._connect() as connection:
            connection.sendall(request)
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status, response.read()

    def environ(self, request: bytes) -> dict[str, Any]:
        """Send *request* and return its environ, ports replaced by what they are."""
        status, body = self.answer(request)
        assert status == 200, (status, request)
        environ: dict[str, Any] = json.loads(body)
        known = {str(self.server.port): "its own", self.path: "the socket"}
        for name in ("SERVER_PORT", "SERVER_NAME"):
            environ[name] = known.get(environ[name] or "nothing", environ[name])
        if "REMOTE_PORT" in environ:
            environ["REMOTE_PORT"] = environ["REMOTE_PORT"].isdigit()
        return environ

    def _connect(self) -> socket.socket:
        if self.path:
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(PATIENCE)
            connection.connect(self.path)
            return connection
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)
        return self.context.wrap_socket(connection) if self.context is not None else connection


@pytest.fixture(name="record", params=["tcp", "unix", "tls"])
def _record(
    request: pytest.FixtureRequest,
    gunicorn: Callable[..., Gunicorn],
    certificate: tuple[str, str],
    tmp_path: Any,
) -> tuple[str, Recorder, Recorder]:
    """The way, gunicorn's gthread, and this project's worker."""
    way = request.param
    recorders = []
    for worker in ("gthread", "flask_aiohttp_worker.Worker"):
        options, path, context = ["--threads", "2"], "", None
        if way == "unix":
            path = str(tmp_path / f"{worker}.sock")
            options += ["--bind", f"unix:{path}"]
        if way == "tls":
            # The client has a certificate too: gunicorn tells the application nothing of it.
            cert, key = certificate
            options += ["--certfile", cert, "--keyfile", key, "--ca-certs", cert]
            options += ["--cert-reqs", str(int(ssl.CERT_OPTIONAL))]
            context = ssl.create_default_context(cafile=cert)
            context.check_hostname = False
            context.load_cert_chain(cert, key)
        server = gunicorn("recorder:application", *options, worker=worker)
        recorders.append(Recorder(server, path, context))
    return way, recorders[0], recorders[1]


def test_environ_is_that_of_gthread(record: tuple[str, Recorder, Recorder]) -> None:
    """Every variable, and the body; over TCP, a Unix socket and TLS."""
    way, theirs, ours = record
    found, listed = {}, {}
    for name, request in REQUESTS.items():
        one, other = theirs.environ(request), ours.environ(request)
        target = request.split()[1].decode("latin-1")
        found[name] = {
            variable: (one.get(variable), other.get(variable))
            for variable in {*one, *other}
            if one.get(variable) != other.get(variable)
        }
        listed[name] = {
            **ALWAYS,
            # The same as RAW_URI, for what was written for other servers.
            "REQUEST_URI": (None, target),
            **SOMETIMES.get(name, {}),
            **(UNIX.get(name, {}) if way == "unix" else {}),
        }

    assert listed == found
    for name, request in REFUSED.items():
        assert (name, 200, 400) == (name, theirs.answer(request)[0], ours.answer(request)[0])
