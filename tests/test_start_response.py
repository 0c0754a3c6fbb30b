"""What an application declares is checked, and serialized as the RFCs have it."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi as gunicorn_wsgi

from flask_aiohttp import InvalidResponse
from flask_aiohttp._start_response import Framing, Pending, Phase, parse_head


def head_bytes(status: str, *headers: tuple[str, str], **facts: Any) -> list[str]:
    """Return the lines of the head that goes out."""
    options = {
        "framing": Framing.LENGTH,
        "version": (1, 1),
        "server": "gunicorn",
        "date": "Thu, 01 Jan 1970 00:00:00 GMT",
        "keep_alive": True,
        **facts,
    }
    framing = options.pop("framing")
    return parse_head(status, headers).serialize(framing, **options).decode("latin-1").split("\r\n")


def test_a_head_has_the_servers_fields_and_the_applications() -> None:
    """Status line, Server and Date, then the application's fields as it wrote them."""
    lines = head_bytes("404 NOT FOUND", ("Content-Type", "text/plain"), ("x-CASE", "Caf\xe9 \xff"))

    assert [
        "HTTP/1.1 404 NOT FOUND",
        "Server: gunicorn",
        "Date: Thu, 01 Jan 1970 00:00:00 GMT",
        "Content-Type: text/plain",
        "x-CASE: Caf\xe9 \xff",
        "",
        "",
    ] == lines


@pytest.mark.parametrize(
    ("facts", "added"),
    [
        ({}, []),
        ({"keep_alive": False}, ["Connection: close"]),
        ({"version": (1, 0)}, ["Connection: keep-alive"]),
        ({"version": (1, 0), "keep_alive": False}, ["Connection: close"]),
        ({"framing": Framing.CHUNKED}, ["Transfer-Encoding: chunked"]),
        ({"framing": Framing.NONE}, []),
        (
            {"framing": Framing.CHUNKED, "keep_alive": False},
            ["Connection: close", "Transfer-Encoding: chunked"],
        ),
    ],
)
def test_the_connection_and_the_framing_are_announced(
    facts: dict[str, Any], added: list[str]
) -> None:
    """Only what differs from the protocol's default is said."""
    assert added == head_bytes("200 OK", **facts)[3:-2]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("200 OK", "HTTP/1.1 200 OK"),
        ("200 ", "HTTP/1.1 200 "),
        ("200", "HTTP/1.1 200 "),
        ("418 I'm a t\xe9apot\t!", "HTTP/1.1 418 I'm a t\xe9apot\t!"),
        ("999 Odd", "HTTP/1.1 999 Odd"),
    ],
)
def test_a_status_may_have_any_reason_or_none(status: str, line: str) -> None:
    """The space after the code is sent even where no reason follows (RFC 9112, section 4)."""
    assert line == head_bytes(status)[0]


@pytest.mark.parametrize(
    "status",
    [
        *("", "OK", "20 OK", "2000 OK", "000 OK", "99 OK", "200OK", " 200 OK", "+20 OK", "-20 OK"),
        *(
            "200\tOK",
            "200  \x00",
            "200 OK\r\n",
            "200 OK\n",
            "200 OK\r\nX: y",
            "200 OK\0",
            "200 \x7f",
        ),
        *("200 \u20ac", "\u0662\u0660\u0660 OK", "200 OK\u2028", "200\x0bOK"),
    ],
)
def test_a_status_that_is_none_is_refused(status: str) -> None:
    """Nothing but a code and a reason of printable latin-1 reaches the status line."""
    with pytest.raises(InvalidResponse, match="its status is not like '200 OK'"):
        parse_head(status, [])


@pytest.mark.parametrize("status", [200, b"200 OK", None, ("200", "OK")])
def test_a_status_of_another_type_is_refused(status: object) -> None:
    """The status is a str, and the error names what was given instead."""
    with pytest.raises(InvalidResponse, match=f"its status is {type(status).__name__}, not str"):
        parse_head(status, [])


@pytest.mark.parametrize(
    "name",
    ["", " ", "X Y", "X:", "X\r\nY", "X\n", "X\0", "X\t", "\xe9", "\u20ac", "X,Y", "(X)", "X/Y"],
)
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    """A field's name is a token (RFC 9110, section 5.6.2)."""
    with pytest.raises(InvalidResponse, match="is not a header's name"):
        parse_head("200 OK", [(name, "value")])


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nX: b",
        "a\r\n b",
        "a\n",
        "a\r",
        "\r\n\r\nbody",
        "a\0b",
        "\x0b",
        "\x1b[31m",
        "\x7f",
        "\u20ac",
    ],
)
def test_a_value_that_would_end_its_line_is_refused(value: str) -> None:
    """The error names the header, and never shows the value: it may be secret."""
    with pytest.raises(InvalidResponse, match="the value of the header 'Set-Cookie'") as caught:
        parse_head("200 OK", [("Set-Cookie", "secret" + value)])

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "header", [(b"X", "y"), ("X", b"y"), ("X", 1), ("X", None), (None, "y"), (1, 2)]
)
def test_a_header_of_other_types_is_refused(header: tuple[object, object]) -> None:
    """Name and value are both str (PEP 3333)."""
    with pytest.raises(InvalidResponse, match="is not a pair of two str"):
        parse_head("200 OK", [header])


def test_spaces_around_a_value_are_not_sent() -> None:
    """They are no part of it (RFC 9110, section 5.5)."""
    assert ["X: a b", "Y: "] == head_bytes("200 OK", ("X", " \ta b\t "), ("Y", " "))[3:-2]


HOP_BY_HOP = sorted(gunicorn_wsgi.util.hop_headers)


@pytest.mark.parametrize("name", HOP_BY_HOP)
def test_the_fields_of_the_connection_are_the_servers(name: str) -> None:
    """What gunicorn drops is dropped here, whatever its case."""
    head = parse_head("200 OK", [(name.title(), "a"), (name, "b"), ("X", "c")])

    assert [("X", "c")] == head.headers


@pytest.mark.parametrize(
    ("value", "closes"),
    [("close", True), (" CLOSE ", True), ("keep-alive", False), ("upgrade", False), ("", False)],
)
def test_an_application_may_end_the_connection(value: str, closes: bool) -> None:
    """``Connection: close`` is a wish that is heard, and the server's to say."""
    head = parse_head("200 OK", [("Connection", value)])

    assert closes is head.close
    assert [] == head.headers


@pytest.mark.parametrize(
    ("values", "length"), [(["0"], 0), (["12"], 12), ([" 12\t"], 12), (["012"], 12)]
)
def test_a_content_length_is_read(values: list[str], length: int) -> None:
    """It is a number of bytes in decimal digits."""
    head = parse_head("200 OK", [("Content-Length", value) for value in values])

    assert length == head.content_length


@pytest.mark.parametrize(
    "value", ["", "a", "-1", "+1", "1.0", "1_0", "0x1", "1 2", "1,1", "\xb2", "1e3"]
)
def test_a_content_length_that_is_no_number_is_refused(value: str) -> None:
    """Python reads more as a number than HTTP does."""
    with pytest.raises(InvalidResponse, match="Content-Length is not a number"):
        parse_head("200 OK", [("content-length", value)])


def test_a_content_length_is_said_once() -> None:
    """Two that agree are sent as one; two that differ are refused."""
    twice = [("Content-Length", "12"), ("X", "y"), ("content-length", "12")]

    assert [("Content-Length", "12"), ("X", "y")] == parse_head("200 OK", twice).headers
    with pytest.raises(InvalidResponse, match="two different Content-Length"):
        parse_head("200 OK", [*twice, ("Content-Length", "13")])


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        ("101 Switching", False),
        ("204 No Content", False),
        ("304 Not Modified", True),
        ("200 OK", True),
    ],
)
def test_an_answer_that_never_has_a_body_has_no_content_length(status: str, kept: bool) -> None:
    """1xx and 204 must not have one; 304 may (RFC 9110, section 8.6)."""
    head = parse_head(status, [("Content-Length", "5"), ("X", "y")])

    assert kept is (("Content-Length", "5") in head.headers)
    assert kept is (head.content_length == 5)


@pytest.mark.parametrize(
    ("status", "length", "method", "version", "framing"),
    [
        ("200 OK", "5", "GET", (1, 1), Framing.LENGTH),
        ("200 OK", "0", "GET", (1, 1), Framing.LENGTH),
        ("200 OK", "5", "GET", (1, 0), Framing.LENGTH),
        ("200 OK", None, "GET", (1, 1), Framing.CHUNKED),
        ("404 Not Found", None, "POST", (1, 1), Framing.CHUNKED),
        ("200 OK", None, "GET", (1, 0), Framing.CLOSE),
        ("200 OK", "5", "HEAD", (1, 1), Framing.NONE),
        ("200 OK", None, "HEAD", (1, 0), Framing.NONE),
        ("204 No Content", None, "GET", (1, 1), Framing.NONE),
        ("304 Not Modified", "5", "GET", (1, 1), Framing.NONE),
    ],
)
def test_the_framing_follows_from_request_and_status(
    status: str, length: str | None, method: str, version: tuple[int, int], framing: Framing
) -> None:
    """How the client learns where the body ends (RFC 9112, section 6.3)."""
    headers = [] if length is None else [("Content-Length", length)]

    assert framing is parse_head(status, headers).framing(method, version)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK", [("X", "y"), ("Connection", "close"), ("Upgrade", "h2c"), ("Y", " z ")]),
        ("200 OK", [("X\r\n", "y")]),
        ("200 OK", [("X", "y\r\n")]),
        ("200 OK", [("X", "\x7f")]),
        ("200 OK", [("X", 1)]),
        ("200 OK\r\n", []),
        ("200OK", []),
        (200, []),
    ],
)
def test_what_gunicorn_refuses_is_refused(status: Any, headers: list[Any]) -> None:
    """Both let the same fields pass, and raise for the same answers."""

    def ask(function: Any) -> list[tuple[str, str]] | str:
        try:
            return list(function(status, headers).headers)
        except Exception:
            return "refused"

    def gunicorn(status: Any, headers: Any) -> Any:
        request = type("Request", (), {"version": (1, 1), "method": "GET"})
        response = gunicorn_wsgi.Response(request, None, Config())
        response.start_response(status, headers)
        return response

    assert ask(gunicorn) == ask(parse_head)


def pending() -> Pending:
    return Pending(lambda data: None)


def exc_info() -> Any:
    try:
        raise LookupError("the application's own")
    except LookupError:
        return sys.exc_info()


def test_start_response_returns_write() -> None:
    """The callable of PEP 3333 is what the exchange gave, and the head is declared."""
    written: list[bytes] = []
    start_response = Pending(written.append)

    start_response("200 OK", [("X", "y")])(b"data")

    assert [b"data"] == written
    assert Phase.DECLARED is start_response.phase
    assert start_response.head is not None
    assert "200 OK" == start_response.head.status


def test_a_second_call_without_exc_info_is_refused() -> None:
    """An application says once what it answers, and what it said first stays."""
    start_response = pending()
    start_response("200 OK", [])

    with pytest.raises(InvalidResponse, match="called twice without exc_info"):
        start_response("404 Not Found", [])

    assert start_response.head is not None
    assert 200 == start_response.head.code


def test_exc_info_replaces_an_answer_that_was_not_sent() -> None:
    """An error handler may change its mind until the head is on its way."""
    start_response = pending()
    start_response("200 OK", [("X", "y")])

    start_response("500 Oops", [], exc_info())

    assert start_response.head is not None
    assert ("500 Oops", []) == (start_response.head.status, start_response.head.headers)


@pytest.mark.parametrize("phase", [Phase.STREAMING, Phase.FINISHED])
def test_exc_info_is_raised_once_the_head_was_sent(phase: Phase) -> None:
    """The application has no way to recover: its own error goes on, with its traceback."""
    start_response = pending()
    start_response("200 OK", [])
    start_response.phase = phase
    error = exc_info()
    error[1].__traceback__ = None

    with pytest.raises(LookupError, match="the application's own") as caught:
        start_response("500 Oops", [], error)

    assert error[1] is caught.value
    assert "exc_info" == caught.traceback[-1].name


def test_a_refused_answer_can_be_declared_anew() -> None:
    """A broken header leaves nothing behind: the next call counts as the first."""
    start_response = pending()
    with pytest.raises(InvalidResponse):
        start_response("200 OK", [("X", "\n")])

    start_response("400 Bad Request", [])

    assert start_response.head is not None
    assert 400 == start_response.head.code
