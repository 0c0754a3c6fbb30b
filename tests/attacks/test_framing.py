"""Where one request ends and the next begins is never in doubt (RFC 9112, sections 6 and 11)."""

from __future__ import annotations

import pytest

from .target import CANARY, lines, statuses, target

HOST = "Host: example.org"
CHUNKED = "Transfer-Encoding: chunked"
LAST = b"0\r\n\r\n"

KINDS = ["thread", "loop", "native"]

# Each is followed by another request, answered once with this status, and seen by nobody.
REFUSED = {
    "length and chunked": ("400", lines(HOST, "Content-Length: 6", CHUNKED, body=LAST + b"X")),
    "chunked and length": ("400", lines(HOST, CHUNKED, "Content-Length: 6", body=LAST + b"X")),
    "two lengths": ("400", lines(HOST, "Content-Length: 5", "Content-Length: 6", body=b"12345X")),
    "one length twice": ("400", lines(HOST, "Content-Length: 1", "Content-Length: 1", body=b"X")),
    "list of lengths": ("400", lines(HOST, "Content-Length: 1, 1", body=b"X")),
    "length with sign": ("400", lines(HOST, "Content-Length: +1", body=b"X")),
    "length with underscore": ("400", lines(HOST, "Content-Length: 1_0", body=b"X" * 10)),
    "negative length": ("400", lines(HOST, "Content-Length: -1")),
    "hexadecimal length": ("400", lines(HOST, "Content-Length: 0x1", body=b"X")),
    "length of other digits": ("400", lines(HOST, "Content-Length: \xb2", body=b"XX")),
    "length without end": ("400", lines(HOST, "Content-Length: " + "9" * 40)),
    "no length": ("400", lines(HOST, "Content-Length: ")),
    "no coding": ("400", lines(HOST, "Transfer-Encoding: ", "Content-Length: 1", body=b"X")),
    "no coding alone": ("400", lines(HOST, "Transfer-Encoding:")),
    "unknown coding": ("501", lines(HOST, "Transfer-Encoding: foo, chunked", body=LAST)),
    "coding that looks like chunked": (
        "400",
        lines(HOST, "Transfer-Encoding: xchunked", body=LAST),
    ),
    "chunked123": ("400", lines(HOST, "Transfer-Encoding: chunked123", body=LAST)),
    "chunked not last": ("400", lines(HOST, "Transfer-Encoding: chunked, identity", body=LAST)),
    "chunked twice": ("400", lines(HOST, "Transfer-Encoding: chunked, chunked", body=LAST)),
    "chunked on two lines": ("400", lines(HOST, CHUNKED, CHUNKED, body=LAST)),
    "chunked behind a control": ("400", lines(HOST, "Transfer-Encoding: \x0bchunked", body=LAST)),
    "chunked in 1.0": ("400", lines(HOST, CHUNKED, body=LAST, first="POST / HTTP/1.0")),
    "space before colon": ("400", lines(HOST, "Transfer-Encoding : chunked", body=LAST)),
    "folded line": ("400", lines(HOST, "X: y", " Content-Length: 5", body=b"X")),
    "bare CR": ("400", lines(HOST, "X: \rTransfer-Encoding: chunked", body=LAST)),
    "bare LF": ("400", lines(HOST, "X: y\nContent-Length: 5", body=b"XXXXX")),
    "NUL": ("400", lines(HOST, "X: a\0b")),
    "line without colon": ("400", lines(HOST, "nonsense")),
    "line without name": ("400", lines(HOST, ": x")),
    "upgrade with body": (
        "400",
        lines(HOST, "Upgrade: websocket", "Connection: Upgrade", "Content-Length: 1", body=b"X"),
    ),
    "upgrade with chunks": (
        "400",
        lines(HOST, "Upgrade: websocket", "Connection: Upgrade", CHUNKED, body=LAST),
    ),
    "tunnel": ("501", lines(HOST, first="CONNECT example.org:443 HTTP/1.1")),
    "HTTP/2 preface": ("400", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/0.9": ("400", b"GET /\r\n"),
    "HTTP/0.9 by number": ("400", lines(HOST, first="GET / HTTP/0.9")),
    "HTTP/2.0 by number": ("400", lines(HOST, first="GET / HTTP/2.0")),
    "HTTP/1.10": ("400", lines(HOST, first="GET / HTTP/1.10")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REFUSED)
async def test_what_can_be_read_in_two_ways_is_read_in_none(name: str, kind: str) -> None:
    """One answer, an end, and no application sees the request or what follows it."""
    status, attack = REFUSED[name]

    async with target(kind) as attacked:
        at_once = await attacked.answer(attack + CANARY)
        in_pieces = await attacked.answer(attack, CANARY)
        half_closed = await attacked.answer(attack + CANARY, close=True)

    assert [status] == statuses(at_once) == statuses(in_pieces) == statuses(half_closed)
    assert b"Connection: close\r\n" in at_once
    assert [] == attacked.seen


# Malformed bodies. The request has begun before anybody can know.
BODIES = {
    "size in other notation": b"0x1\r\nX\r\n0\r\n\r\n",
    "negative size": b"-1\r\nX\r\n0\r\n\r\n",
    "size with sign": b"+1\r\nX\r\n0\r\n\r\n",
    "size with underscore": b"1_0\r\n" + b"X" * 16 + b"\r\n0\r\n\r\n",
    "size beyond 64 bits": b"fffffffffffffffff\r\nX\r\n",
    "size with space": b"1 \r\nX\r\n0\r\n\r\n",
    "no size": b"\r\nX\r\n",
    "bad end of a chunk": b"1\r\nXY\r\n0\r\n\r\n",
    "LF after a chunk": b"1\r\nX\n0\r\n\r\n",
    "LF in an extension": b"1;a\nb\r\nX\r\n0\r\n\r\n",
    "CR in an extension": b"1;a\rb\r\nX\r\n0\r\n\r\n",
    "trailer without colon": b"1\r\nX\r\n0\r\nnonsense\r\n\r\n",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BODIES)
async def test_a_malformed_body_is_no_shorter_body(
    name: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The application gets an error, the client one answer or none, and nothing follows."""
    attack = lines(HOST, CHUNKED, body=BODIES[name])

    async with target(kind) as attacked:
        at_once = await attacked.answer(attack + CANARY, close=True)
        in_pieces = await attacked.answer(attack, CANARY, close=True)

    assert statuses(at_once) in (["400"], [])
    assert statuses(in_pieces) in (["400"], [])
    assert [] == attacked.seen
    assert "Traceback" not in caplog.text


# Requests that are served, and after which the connection says nothing more.
LAST_ONES = {
    "chunked": lines(HOST, CHUNKED, body=b"1\r\nX\r\n0\r\n\r\n"),
    "gzip, chunked": lines(HOST, "Transfer-Encoding: gzip, chunked", body=b"1\r\nX\r\n0\r\n\r\n"),
    "trailer": lines(HOST, CHUNKED, body=b"1\r\nX\r\n0\r\nX-Trailer: y\r\n\r\n"),
    "trailer of a length": lines(HOST, CHUNKED, body=b"1\r\nX\r\n0\r\nX: Content-Length\r\n\r\n"),
    "upgrade": lines(HOST, "Upgrade: websocket", "Connection: Upgrade", first="GET / HTTP/1.1"),
    "h2c": lines(
        *(HOST, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        first="GET / HTTP/1.1",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", LAST_ONES)
async def test_what_may_be_something_else_is_no_request(name: str, kind: str) -> None:
    """A trailer, or what follows a refused upgrade, has no way into a next request."""
    request = LAST_ONES[name]

    async with target(kind) as attacked:
        at_once = await attacked.answer(request + CANARY)
        in_pieces = await attacked.answer(request, CANARY)

    # Of a websocket Flask's routes know nothing here.
    expected, seen = ("400", []) if name == "upgrade" and kind != "native" else ("200", ["/", "/"])
    assert [expected] == statuses(at_once) == statuses(in_pieces)
    assert b"Connection: close\r\n" in at_once
    assert seen == [path for _, path, _ in attacked.seen]
