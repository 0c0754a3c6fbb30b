"""gunicorn's settings for requests and proxies, with the same answers as under gthread."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Gunicorn, get

WORKERS = ["flask_aiohttp_worker.Worker", "gthread"]

TEXT = b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n"
BINARY = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\2\1\xc0\0\2\2\x12\x67\1\xbb"

Start = Callable[..., Gunicorn]


def asking(*fields: str, target: str = "/", version: str = "1.1") -> bytes:
    """Return a GET request with these header lines."""
    first = f"GET {target} HTTP/{version}"
    return "\r\n".join([first, "Host: example.org", *fields, "", ""]).encode("latin-1")


HTTPS, HTTP = "X-Forwarded-Proto: https", "X-Forwarded-Proto: http"
TRUSTED, STRANGE = "forwarded_allow_ips = '127.0.0.0/8'", "forwarded_allow_ips = '192.0.2.0/24'"

# A configuration; requests, and what of their environ, or which status, must come of them.
CASES: dict[str, list[tuple[bytes, dict[str, str | None] | int]]] = {
    "": [
        (asking(), {"wsgi.url_scheme": "http", "SCRIPT_NAME": "", "REMOTE_ADDR": "127.0.0.1"}),
        (asking(HTTPS), {"wsgi.url_scheme": "https"}),
        (asking(HTTPS, "X-Forwarded-Ssl: off"), 400),
        (asking("X_Y: 1", "X-Y: 2"), {"HTTP_X_Y": "2"}),
        (asking("SCRIPT_NAME: /a", target="/a/b"), {"SCRIPT_NAME": "/a", "PATH_INFO": "/b"}),
        (asking("SCRIPT_NAME: /c", target="/a/b"), 500),
        (asking("X-Forwarded-For: 192.0.2.9"), {"REMOTE_ADDR": "127.0.0.1"}),
        (asking(target="/" + "x" * 4080), {"PATH_INFO": "/" + "x" * 4080}),
        (asking(target="/" + "x" * 4081), 414),
        (asking("X: " + "y" * 8185), {"HTTP_X": "y" * 8185}),
        (asking("X: " + "y" * 8186), 431),
        (asking(*["X: y"] * 99), {"HTTP_X": ",".join("y" * 99)}),
        (asking(*["X: y"] * 100), 431),
        (asking(version="2.0"), 400),
        (asking("Expect: cookies"), 417),
        (asking("Transfer-Encoding: foo, chunked"), 501),
        (asking(target="http://other/a"), {"PATH_INFO": "/a", "HTTP_HOST": "example.org"}),
        (asking(target="https://example.org/"), {"wsgi.url_scheme": "http"}),
    ],
    TRUSTED: [(asking(HTTPS), {"wsgi.url_scheme": "https"})],
    STRANGE: [
        (asking(HTTPS), {"wsgi.url_scheme": "http", "HTTP_X_FORWARDED_PROTO": "https"}),
        (asking(HTTPS, "X-Forwarded-Ssl: off"), {"wsgi.url_scheme": "http"}),
        (asking("SCRIPT_NAME: /a", target="/a/b"), {"SCRIPT_NAME": "", "PATH_INFO": "/a/b"}),
    ],
    "secure_scheme_headers = {'X-SCHEME': 'tls'}; forwarder_headers = 'REMOTE_USER'": [
        (asking("X-Scheme: tls", HTTP), {"wsgi.url_scheme": "https"}),
        (asking("X-Scheme: TLS"), {"wsgi.url_scheme": "http"}),
        (asking("REMOTE_USER: me", "SCRIPT_NAME: /a"), {"HTTP_REMOTE_USER": "me"}),
    ],
    "header_map = 'refuse'": [(asking("X_Y: 1"), 400), (asking("X-Y: 1"), {"HTTP_X_Y": "1"})],
    f"header_map = 'dangerous'; {STRANGE}": [
        (asking("X_Y: 1", "X-Y: 2"), {"HTTP_X_Y": "1,2"}),
        (asking("Content_Length: 9"), {"HTTP_CONTENT_LENGTH": "9", "CONTENT_LENGTH": None}),
    ],
    "limit_request_line = 30; limit_request_fields = 3; limit_request_field_size = 40": [
        (asking(target="/" + "x" * 16), {"PATH_INFO": "/" + "x" * 16}),
        (asking(target="/" + "x" * 17), 414),
        (asking("X: " + "y" * 35), {"HTTP_X": "y" * 35}),
        (asking("X: " + "y" * 36), 431),
        (asking("A: 1", "B: 2"), {"HTTP_A": "1"}),
        (asking("A: 1", "B: 2", "C: 3"), 431),
    ],
    "limit_request_line = 0; limit_request_fields = 0; limit_request_field_size = 0": [
        (asking(target="/" + "x" * 20_000), {"PATH_INFO": "/" + "x" * 20_000}),
        (asking(*["X: y"] * 500), {"HTTP_X": ",".join("y" * 500)}),
        (asking("X: " + "y" * 9000), 431),
    ],
    "permit_unconventional_http_version = True": [
        (asking(version="2.0"), {"SERVER_PROTOCOL": "HTTP/2.0"}),
    ],
    "proxy_protocol = True": [
        (TEXT + get("/"), {"REMOTE_ADDR": "192.0.2.1", "PROXY_PORT": "443"}),
        (BINARY + get("/"), {"REMOTE_PORT": "4711", "PROXY_PROTOCOL": "TCP4"}),
        (get("/"), {"REMOTE_ADDR": "127.0.0.1", "PROXY_PROTOCOL": None}),
        (b"PROXY TCP4 x y 1 2\r\n" + get("/"), 400),
    ],
    "proxy_protocol = 'v2'": [
        (BINARY + get("/"), {"REMOTE_ADDR": "192.0.2.1"}),
        (TEXT + get("/"), 400),
    ],
    "proxy_protocol = 'v1'; proxy_allow_ips = '192.0.2.0/24'": [
        (TEXT + get("/"), 403),
        (get("/"), {"REMOTE_ADDR": "127.0.0.1"}),
    ],
}


@pytest.mark.parametrize("config", CASES, ids=[config or "defaults" for config in CASES])
@pytest.mark.parametrize("worker", WORKERS)
def test_a_setting_means_what_it_means_to_gunicorn(
    gunicorn: Start, tmp_path: Path, worker: str, config: str
) -> None:
    """Each request has the same status, or the same in its environ, under both workers."""
    path = tmp_path / "config.py"
    path.write_text(config.replace("; ", "\n"))
    server = gunicorn("policy_app:facts", "--config", str(path), worker=worker)

    for data, expected in CASES[config]:
        head, _, body = server.talk(data).partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        if isinstance(expected, int):
            assert (data[:60], expected) == (data[:60], status)
        else:
            assert (data[:60], 200) == (data[:60], status)
            environ = json.loads(body)
            assert expected == {name: environ.get(name) for name in expected}
    if worker == WORKERS[0]:
        assert "Traceback" not in server.log


def test_over_a_unix_socket_the_proxy_is_trusted(gunicorn: Start, tmp_path: Path) -> None:
    """Whoever may open it is no stranger, whatever forwarded_allow_ips says."""
    bind = f"unix:{tmp_path}/app.sock"
    server = gunicorn("policy_app:facts", "--forwarded-allow-ips", "192.0.2.1", bind=bind)
    server.wait_for_workers()

    answer = server.talk(asking(HTTPS), path=f"{tmp_path}/app.sock")

    assert b'"wsgi.url_scheme": "https"' in answer


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_who_goes_on_sending_sees_the_answer(gunicorn: Start, loop: str) -> None:
    """With either loop, and no reset."""
    server = gunicorn("policy_app:facts", "--asgi-loop", loop)

    for beginning, status in ((b"GET /", 414), (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", 431)):
        answer = server.talk(beginning, *[b"x" * 50_000] * 20)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.endswith(b"\n")
