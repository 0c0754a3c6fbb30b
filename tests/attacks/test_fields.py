"""Fields that pass for others, on the way in and on the way out."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from harness import Gunicorn, connect, serve

from .target import CANARY, lines, statuses, target

KINDS = ["thread", "loop", "native"]

HOSTS = [
    *(["Host: user@example.org"], ["Host: example.org/admin"], ["Host:"], ["Host: a, b"]),
    *(["Host: a", "Host: a"], ["Host: a", "Host: b"], [], ["Host: a b"], ["Host: caf\xe9"]),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fields", HOSTS)
async def test_there_is_one_host_and_it_is_a_name(fields: list[str], kind: str) -> None:
    """RFC 9112, section 3.2; native routes are protected too."""
    async with target(kind) as attacked:
        answer = await attacked.answer(lines(*fields, first="GET / HTTP/1.1") + CANARY)

    assert ["400"] == statuses(answer)
    assert [] == attacked.seen


async def environ_of(*fields: str) -> dict[str, Any]:
    """Return the environ of a request with these fields."""
    seen: list[dict[str, Any]] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", [("Content-Length", "0")])
        return []

    async with serve(application) as served:
        request = lines("Host: x", "Connection: close", *fields, first="GET / HTTP/1.1")
        reader, writer = await connect(served, request)
        await reader.read()
        writer.close()
    return seen[0]


@pytest.mark.parametrize(
    ("fields", "variable", "value"),
    [
        (
            ["X-Forwarded-For: 1.1.1.1", "X_Forwarded_For: 6.6.6.6"],
            "HTTP_X_FORWARDED_FOR",
            "1.1.1.1",
        ),
        (["X_Forwarded_For: 6.6.6.6"], "HTTP_X_FORWARDED_FOR", None),
        (["Content_Length: 5"], "CONTENT_LENGTH", None),
        (["Content_Type: text/html"], "CONTENT_TYPE", None),
        (["Transfer_Encoding: chunked"], "HTTP_TRANSFER_ENCODING", None),
        (["Proxy: http://evil.example"], "HTTP_PROXY", None),
        (["X-Forwarded-For: 6.6.6.6"], "REMOTE_ADDR", "127.0.0.1"),
        (["X-Forwarded-Host: evil.example"], "HTTP_HOST", "x"),
        (["Wsgi.Url_Scheme: https"], "wsgi.url_scheme", "http"),
        (["Remote-Addr: 6.6.6.6"], "REMOTE_ADDR", "127.0.0.1"),
        (["Remote-User: root", "REMOTE_USER: root"], "REMOTE_USER", None),
    ],
)
async def test_a_field_is_only_what_it_says(
    fields: list[str], variable: str, value: str | None
) -> None:
    """It lands in a variable of its own, or in none."""
    assert value == (await environ_of(*fields)).get(variable)


ANSWERS = {
    "value with a line end": ("200 OK", [("X", "a\r\nSet-Cookie: stolen")]),
    "value with LF": ("200 OK", [("X", "a\nSet-Cookie: stolen")]),
    "value with NUL": ("200 OK", [("X", "stolen\0")]),
    "value with an escape": ("200 OK", [("X", "stolen\x1b[31m")]),
    "value beyond latin-1": ("200 OK", [("X", "stolen\u0100")]),
    "name with a line end": ("200 OK", [("X: a\r\nstolen", "b")]),
    "name with a space": ("200 OK", [("stolen ", "b")]),
    "name with a colon": ("200 OK", [("stolen:", "b")]),
    "name beyond ASCII": ("200 OK", [("stolen\xe9", "b")]),
    "empty name": ("200 OK", [("", "stolen")]),
    "reason with a line end": ("200 OK\r\nX: stolen", []),
    "reason with LF": ("200 OK\nX: stolen", []),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_cannot_be_split(name: str) -> None:
    """What an application was talked into is answered with 500, and nothing of it is sent."""
    status, headers = ANSWERS[name]

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, headers)
        return [b"body"]

    async with serve(application) as served:
        reader, writer = await connect(served, lines("Host: x", first="GET / HTTP/1.1"))
        answer = await reader.read()
        writer.close()

    assert ["500"] == statuses(answer)
    assert b"stolen" not in answer


async def test_fields_of_an_answer_are_latin_1() -> None:
    """One character, one byte, as gunicorn sends them."""

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 d\xe9j\xe0 vu", [("X", "caf\xe9 \x80"), ("Connection", "close")])
        return []

    async with serve(application) as served:
        reader, writer = await connect(served, lines("Host: x", first="GET / HTTP/1.1"))
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 d\xe9j\xe0 vu\r\n")
    assert b"\r\nX: caf\xe9 \x80\r\n" in answer


def user(name: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:password".encode()).decode()


def test_the_log_has_no_control_characters(gunicorn: Callable[..., Gunicorn]) -> None:
    """Neither a line of its own nor a command to a terminal gets into it."""
    form = "%(h)s %(u)s %(r)s %(U)s %(q)s %(f)s %(a)s %({x-name}i)s"
    options = ("--access-logfile", "-", "--access-logformat", form)
    server = gunicorn("policy_app:facts", *options)

    for request in (
        lines(
            "Host: x", user("evil\n127.0.0.1 - - forged"), first="GET /%1b[31m%0aforged HTTP/1.1"
        ),
        lines("Host: x", user("evil\x1b[31m"), first="GET /?a=%1b HTTP/1.1"),
        lines("Host: x", "X: \x1b[31m", first="GET / HTTP/1.1"),
        lines("Host: \x1b[31m", first="GET / HTTP/1.1"),
        lines("Host: x", "Expect: \x9b31m", first="GET / HTTP/1.1"),
        lines("Host: x\x9b31m", first="GET / HTTP/1.1"),
        b"\x1b[31m\x9b\r\n\r\n",
        lines("Host: x", first="GET /last HTTP/1.1"),
    ):
        server.talk(request)
    server.wait_for_log("/last")

    assert server.log.replace("\n", "").isprintable()
    assert not any(
        line.startswith(("forged", "127.0.0.1 - - forged")) for line in server.log.split("\n")
    )


def test_the_worker_calls_itself_gunicorn(gunicorn: Callable[..., Gunicorn]) -> None:
    """In answers of the application, and in its own; no version is told."""
    server = gunicorn("policy_app:facts")

    for request in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"NONSENSE\r\n\r\n"):
        assert b"\r\nServer: gunicorn\r\n" in server.talk(request)
