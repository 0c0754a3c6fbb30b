"""One request as WSGI sees it: what an application does, and the bytes that leave."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from fake_connection import Run, an_exchange, in_both_places, says
from harness import eventually

from flask_aiohttp._start_response import Phase

pytestmark = in_both_places

LENGTH = {"Content-Length": "5"}
EMPTY = {"Content-Length": "0"}
CHUNKED = {"Transfer-Encoding": "chunked"}
CLOSE = {"Connection": "close"}
KEEP = {"Connection": "keep-alive"}


@pytest.mark.parametrize(
    ("application", "request_", "fields", "body"),
    [
        (says(b"hello", Content_Length="5"), {}, LENGTH, b"hello"),
        (says(b"he", b"", b"llo", Content_Length="5"), {}, LENGTH, b"hello"),
        (says(b"hello", b" world", Content_Length="5"), {}, LENGTH, b"hello"),
        (says(b"hello world", Content_Length="5"), {}, LENGTH, b"hello"),
        (says(b"hello", Content_Length="0"), {}, EMPTY, b""),
        (says(Content_Length="0"), {}, EMPTY, b""),
        (says(b"hello", b"!"), {}, CHUNKED, b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"),
        (says(b"", b"a" * 16, b""), {}, CHUNKED, b"10\r\n" + b"a" * 16 + b"\r\n0\r\n\r\n"),
        (says(), {}, EMPTY, b""),
        (says(b"", b""), {}, EMPTY, b""),
        (says(b"hello", b"!"), {"version": (1, 0)}, CLOSE, b"hello!"),
        (says(), {"version": (1, 0)}, {**EMPTY, **KEEP}, b""),
        (says(b"hello", Content_Length="5"), {"version": (1, 0)}, {**LENGTH, **KEEP}, b"hello"),
        (says(b"hello", Content_Length="5"), {"method": "HEAD"}, LENGTH, b""),
        (says(b"hello"), {"method": "HEAD"}, {}, b""),
        (says(), {"method": "HEAD"}, {}, b""),
        (says(b"hello", status="204 No Content", Content_Length="5"), {}, {}, b""),
        (says(status="204 No Content"), {}, {}, b""),
        (says(b"hello", status="304 Not Modified", Content_Length="5"), {}, LENGTH, b""),
        (says(b"hello", status="304 Not Modified"), {}, {}, b""),
        (says(Content_Length="0", Connection="close"), {}, {**EMPTY, **CLOSE}, b""),
        (says(Content_Length="0"), {"keep_alive": False}, {**EMPTY, **CLOSE}, b""),
        (says(Content_Length="0", Transfer_Encoding="gzip", Upgrade="h2c"), {}, EMPTY, b""),
    ],
)
async def test_an_answer_is_framed_by_what_is_known_of_it(
    run: Run, application: Any, request_: Any, fields: dict[str, str], body: bytes
) -> None:
    """Length, chunks or the connection's end tell where the body ends (RFC 9112, section 6)."""
    exchange, connection = an_exchange(application, **request_)

    await run(exchange)

    _, sent_fields, sent_body = connection.answer()
    assert fields == sent_fields
    assert body == sent_body
    assert ("close" != fields.get("Connection")) is exchange.keep_alive
    assert not connection.was_cut


async def test_a_body_in_one_piece_leaves_with_its_head(run: Run) -> None:
    """One write, so that the answer is one packet."""
    exchange, connection = an_exchange(says(b"a" * 1000, Content_Length="1000"))

    await run(exchange)

    assert 1 == len(connection.writes)


@pytest.mark.parametrize("rest", [b"", b"more"], ids=["last", "first"])
async def test_a_large_piece_is_not_copied_for_its_head(run: Run, rest: bytes) -> None:
    """The head goes first, and the very bytes of the application after it."""
    data = b"a" * 100_000
    length = str(len(data + rest))
    exchange, connection = an_exchange(says(data, rest, Content_Length=length))

    await run(exchange)

    assert connection.writes[0].endswith(b"\r\n\r\n")
    assert data is connection.writes[1]


@pytest.mark.parametrize(
    "request_", [{"method": "HEAD"}, {"status": "204 No Content"}, {"status": "304 Not Modified"}]
)
async def test_a_body_that_nobody_gets_is_not_asked_for(run: Run, request_: dict[str, str]) -> None:
    """One piece tells that the head is final; then the body is closed, be it endless."""
    made: list[str] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response(request_.get("status", "200 OK"), [])
        try:
            while True:
                made.append("piece")
                yield b"" if len(made) < 3 else b"piece"
        finally:
            made.append("closed")

    exchange, connection = an_exchange(application, method=request_.get("method", "GET"))
    await run(exchange)

    assert ["piece", "piece", "piece", "closed"] == made
    assert b"" == connection.answer()[2]
    assert exchange.keep_alive


async def test_each_piece_leaves_before_the_next_is_made(run: Run) -> None:
    """An application that yields sees its bytes go; nothing is collected."""
    sent_before: list[int] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for _ in range(3):
            sent_before.append(len(connection.writes))
            yield b"piece"

    exchange, connection = an_exchange(application)
    await run(exchange)

    assert [0, 1, 2] == sent_before


async def test_a_slow_client_holds_up_the_application(run: Run) -> None:
    """No piece is asked for while the client does not take the one before."""
    made: list[int] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        for number in range(3):
            made.append(number)
            yield b"piece"

    exchange, connection = an_exchange(application)
    connection.taking.clear()
    task = asyncio.ensure_future(run(exchange))
    await eventually(lambda: connection.writes, "the first piece")
    for _ in range(20):
        await asyncio.sleep(0)
    made_meanwhile = list(made)
    connection.taking.set()
    await task

    assert [0] == made_meanwhile
    assert [0, 1, 2] == made


async def test_the_last_piece_is_not_waited_for(run: Run) -> None:
    """The application is done with, however slowly the client takes the rest."""
    exchange, connection = an_exchange(says(b"hello", Content_Length="5"))
    connection.taking.clear()

    await run(exchange)

    assert Phase.FINISHED is exchange.phase


async def test_write_sends_at_once_and_before_the_iterable(run: Run) -> None:
    """The callable of PEP 3333 may be used alone or with a body."""
    sent: list[int] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "9")])
        for piece in (b"one", b"", b"two"):
            write(piece)
            sent.append(exchange.sent)
        return [b"six"]

    exchange, connection = an_exchange(application)
    await run(exchange)

    assert [3, 3, 6] == sent
    assert b"onetwosix" == connection.answer()[2]


async def test_start_response_may_be_called_at_the_first_piece(run: Run) -> None:
    """A generator application runs when its first bytes are asked for."""

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        yield b""
        start_response("201 Created", [("Content-Length", "2")])
        yield b"ok"

    exchange, connection = an_exchange(application)
    await run(exchange)

    assert ("201 Created", {"Content-Length": "2"}, b"ok") == connection.answer()


async def test_exc_info_replaces_an_answer_of_which_nothing_is_sent(run: Run) -> None:
    """An application may still change its mind; only the second answer leaves."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "100")])
        try:
            raise LookupError
        except LookupError:
            start_response("503 Later", [("Content-Length", "5")], sys.exc_info())
        return [b"sorry"]

    exchange, connection = an_exchange(application)
    await run(exchange)

    assert ("503 Later", LENGTH, b"sorry") == connection.answer()


async def test_the_application_is_given_the_environ_of_the_request(run: Run) -> None:
    """It is the exchange's own dict, so that what is set there is seen by the log."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["seen"] = environ["REQUEST_METHOD"]
        start_response("200 OK", [])
        return []

    exchange, _ = an_exchange(application, method="PUT")
    await run(exchange)

    assert "PUT" == exchange.environ["seen"]


async def test_an_exchange_tells_how_it_went(run: Run) -> None:
    """Status and bytes of the body for the log, and for aiohttp the connection's fate."""
    exchange, _ = an_exchange(says(b"hello", b"!", status="200 Fine"))
    before = exchange.status

    await run(exchange)
    response = exchange.response()

    assert ("499 Client Closed Request", "200 Fine") == (before, exchange.status)
    assert (200, 6, True) == (response.status, response.body_length, response.keep_alive)
    assert response.prepared
    assert 6 == exchange.sent
