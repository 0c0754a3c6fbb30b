"""Applications that break the rules, fail, or are left by their client."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_connection import Run, an_exchange, in_both_places, says
from greenlet import getcurrent
from harness import eventually

from flask_aiohttp import ClientGone, InvalidResponse
from flask_aiohttp._exchange import Exchange

pytestmark = in_both_places


class Body:
    """An iterable that counts the calls of its ``close()``."""

    def __init__(self, *pieces: Any, close_error: Exception | None = None) -> None:
        self.pieces = list(pieces)
        self.close_error = close_error
        self.closed = 0

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> Any:
        if not self.pieces:
            raise StopIteration
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece() if callable(piece) else piece

    def close(self) -> None:
        self.closed += 1
        if self.close_error is not None:
            raise self.close_error


def an_application(body: Any, *headers: tuple[str, str], start: bool = True) -> Callable[..., Any]:
    def application(environ: Any, start_response: Any) -> Any:
        if start:
            start_response("200 OK", list(headers))
        return body

    return application


def length(number: int) -> tuple[str, str]:
    return "Content-Length", str(number)


@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        (Body(), [], None),
        (Body(b"hello", b"!"), [], None),
        (Body(b"hello"), [length(5)], None),
        (Body(b"hello"), [length(2)], None),
        (Body(b"hello"), [length(9)], InvalidResponse),
        (Body(b"hello", LookupError("broken")), [], LookupError),
        (Body(LookupError("broken")), [], LookupError),
        (Body("text"), [], InvalidResponse),
        (Body(b"hello", close_error=LookupError("broken")), [], LookupError),
        (Body(LookupError("broken"), close_error=OSError("too")), [], OSError),
    ],
)
async def test_the_body_is_closed_once_whatever_happens(
    run: Run, body: Body, headers: list[tuple[str, str]], error: type[Exception] | None
) -> None:
    """``close()`` is called after the last piece, after a failure, and never twice."""
    body = Body(*body.pieces, close_error=body.close_error)  # parameters are shared
    exchange, _ = an_exchange(an_application(body, *headers))

    if error is None:
        await run(exchange)
    else:
        with pytest.raises(error):
            await run(exchange)

    assert 1 == body.closed


async def test_the_body_is_closed_once_when_the_client_has_left(run: Run) -> None:
    """The application learns of it at its next piece; no further one is asked for."""
    made: list[int] = []

    def make() -> bytes:
        made.append(1)
        connection.gone = len(made) == 2
        return b"piece"

    body = Body(make, make, make)
    exchange, connection = an_exchange(an_application(body))

    with pytest.raises(ClientGone, match="sending the answer"):
        await run(exchange)

    assert [1, 1] == made
    assert 1 == body.closed


async def test_the_body_is_closed_once_when_the_request_is_cancelled(run: Run) -> None:
    """Also while the client takes nothing."""
    body = Body(b"one", b"two")
    exchange, connection = an_exchange(an_application(body))
    connection.taking.clear()

    task = asyncio.ensure_future(run(exchange))
    await eventually(lambda: connection.writes, "the first piece")
    task.cancel()
    await asyncio.wait({task})
    await eventually(lambda: body.closed, "the body to be closed")

    assert task.cancelled()
    assert 1 == body.closed


async def test_a_generator_ends_with_its_finally_block_in_the_same_context(run: Run) -> None:
    """``close()`` runs where the application ran: what that pushed can be popped."""
    places: list[Any] = []

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [length(9)])
        try:
            places.append(place())
            yield b"one"
        finally:
            places.append(place())

    def place() -> object:
        return threading.current_thread(), getcurrent()

    exchange, _ = an_exchange(application)
    with pytest.raises(InvalidResponse, match="6 bytes shorter than Content-Length"):
        await run(exchange)

    assert places[0] == places[1]


@pytest.mark.parametrize(
    "piece",
    ["text", None, 1, bytearray(b"b"), memoryview(b"b"), [b"b"]],
    ids=lambda piece: type(piece).__name__,
)
async def test_a_piece_that_is_not_bytes_is_refused(run: Run, piece: Any) -> None:
    """The error names the type; nothing of the answer is sent."""
    exchange, connection = an_exchange(says(piece))

    with pytest.raises(InvalidResponse, match=f"yielded {type(piece).__name__}, not bytes"):
        await run(exchange)

    assert [] == connection.writes


@pytest.mark.parametrize("bad", ["\r", "\n", "\r\nSet-Cookie: a=b", "\0"], ids=ascii)
@pytest.mark.parametrize("where", ["name", "value", "reason"])
async def test_no_header_can_end_its_line(run: Run, where: str, bad: str) -> None:
    """Whoever fills one cannot add another, nor a body: nothing of the answer is sent."""
    text = f"a{bad}b"
    name, value = (text, "value") if where == "name" else ("X-Name", "value")
    if where == "value":
        value = text
    status = f"200 {text}" if where == "reason" else "200 OK"

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, [(name, value)])
        return [b"hello"]

    exchange, connection = an_exchange(application)
    with pytest.raises(InvalidResponse):
        await run(exchange)

    assert [] == connection.writes


@pytest.mark.parametrize(
    ("status", "headers"),
    [(200, []), (None, []), (b"200 OK", []), ("200 OK", [("Name", 1)]), ("200 OK", [(b"N", "v")])],
    ids=repr,
)
async def test_a_head_of_other_types_is_refused(run: Run, status: Any, headers: Any) -> None:
    """PEP 3333: strings, all of them."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response(status, headers)
        return [b"hello"]

    exchange, connection = an_exchange(application)
    with pytest.raises(InvalidResponse):
        await run(exchange)

    assert [] == connection.writes


@pytest.mark.parametrize("body", [None, 42])
async def test_a_body_that_cannot_be_iterated_is_a_type_error(run: Run, body: Any) -> None:
    """An application that forgot to return its answer is told so."""
    exchange, connection = an_exchange(an_application(body))

    with pytest.raises(TypeError, match="not iterable"):
        await run(exchange)

    assert [] == connection.writes


@pytest.mark.parametrize("body", [[], [b"hello"]])
async def test_an_answer_without_start_response_is_refused(run: Run, body: list[bytes]) -> None:
    """There is no status to send."""
    exchange, connection = an_exchange(an_application(body, start=False))

    with pytest.raises(InvalidResponse, match=r"start_response\(\) was not called"):
        await run(exchange)

    assert [] == connection.writes


@pytest.mark.parametrize("status", ["100 Continue", "103 Early Hints", "101 Switching Protocols"])
async def test_an_interim_status_is_no_answer(run: Run, status: str) -> None:
    """The client would go on waiting, and take the next answer for this request's."""
    exchange, connection = an_exchange(says(b"hello", status=status))

    with pytest.raises(InvalidResponse, match=f"'{status}' is no final answer"):
        await run(exchange)

    assert [] == connection.writes


@pytest.mark.parametrize("pieces", [[], [b""], [b"he"], [b"he", b"l"]])
async def test_a_body_shorter_than_its_length_is_an_error(run: Run, pieces: list[bytes]) -> None:
    """The client is not told that it has the whole: nothing is added, and the end is no end."""
    exchange, connection = an_exchange(says(*pieces, Content_Length="5"))
    missing = 5 - len(b"".join(pieces))

    with pytest.raises(InvalidResponse, match=f"{missing} bytes shorter than Content-Length"):
        await run(exchange)
    exchange.fail("500 Internal Server Error")

    assert b"".join(pieces) == connection.answer()[2]
    assert connection.was_cut
    assert not exchange.response().keep_alive


async def test_exc_info_is_raised_once_something_was_sent(run: Run) -> None:
    """The application's error goes on to the server; its new answer is dropped."""
    error = LookupError("broken")

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"hello"
        try:
            raise error
        except LookupError:
            start_response("500 Oops", [], sys.exc_info())

    exchange, connection = an_exchange(application)
    with pytest.raises(LookupError, match="broken") as caught:
        await run(exchange)
    exchange.fail("500 Internal Server Error")

    assert error is caught.value
    assert ("200 OK", b"5\r\nhello\r\n") == connection.answer()[::2]
    assert connection.was_cut


@pytest.mark.parametrize("sent", [b"", b"hello"], ids=["before", "after"])
async def test_start_response_may_not_be_called_twice(run: Run, sent: bytes) -> None:
    """Without ``exc_info`` the first call counts, before and after the head has left."""

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield sent
        start_response("404 Not Found", [])

    exchange, connection = an_exchange(application)
    with pytest.raises(InvalidResponse, match="called twice"):
        await run(exchange)

    assert bool(sent) is bool(connection.writes)


async def test_write_after_the_end_is_refused(run: Run) -> None:
    """Its bytes would be taken for the next answer."""

    class Late(Body):
        def close(self) -> None:
            exchange.write(b"HTTP/1.1 200 OK\r\n")

    exchange, connection = an_exchange(an_application(Late(b"hello"), length(5)))
    with pytest.raises(InvalidResponse, match="after the end of its body"):
        await run(exchange)
    exchange.fail("500 Internal Server Error")

    assert b"hello" == connection.answer()[2]
    assert not connection.was_cut


async def fail(exchange: Exchange, run: Run) -> None:
    """Do what the handler does when the application raises."""
    try:
        await run(exchange)
    except Exception:
        exchange.fail("500 Internal Server Error")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", [(1, 0), (1, 1)])
@pytest.mark.parametrize("start", [False, True], ids=["unsaid", "declared"])
async def test_a_failure_before_the_head_is_answered_with_500(
    run: Run, method: str, version: tuple[int, int], start: bool
) -> None:
    """A whole answer in the application's place, and nothing of what it had declared."""
    body = Body(LookupError("secret"))
    application = an_application(body, length(9), ("X", "y"), start=start)
    exchange, connection = an_exchange(application, method=method, version=version)

    await fail(exchange, run)

    status, fields, text = connection.answer()
    assert "500 Internal Server Error" == status == exchange.status
    assert "close" == fields["Connection"]
    assert "X" not in fields
    assert len(b"Internal Server Error\n") == int(fields["Content-Length"])
    assert (b"Internal Server Error\n" if method == "GET" else b"") == text
    assert (500, False) == (exchange.response().status, exchange.response().keep_alive)
    assert not connection.was_cut


async def test_a_failure_after_the_head_cuts_the_connection(run: Run) -> None:
    """The client sees a truncated body, never one that looks whole."""
    exchange, connection = an_exchange(an_application(Body(b"hello", LookupError("broken"))))

    await fail(exchange, run)

    assert ("200 OK", b"5\r\nhello\r\n") == connection.answer()[::2]
    assert connection.was_cut
    assert not exchange.response().keep_alive


async def test_a_failure_after_the_end_changes_nothing(run: Run) -> None:
    """The client has its whole answer, and the connection goes on."""
    body = Body(b"hello", close_error=LookupError("broken"))
    exchange, connection = an_exchange(an_application(body, length(5)))

    await fail(exchange, run)

    assert ("200 OK", b"hello") == connection.answer()[::2]
    assert not connection.was_cut
    assert exchange.response().keep_alive
