"""What is no request has one line in the log, and gunicorn's statuses."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.http_exceptions import BadHttpMessage, InvalidHeader, LineTooLong

from flask_aiohttp._refusal import log_refusal, refusal, status_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LineTooLong(b"x", 4081), "414 URI Too Long"),
        (LineTooLong(b"x", 8186), "431 Request Header Fields Too Large"),
        (BadHttpMessage("Too many headers received"), "431 Request Header Fields Too Large"),
        (BadHttpMessage("Duplicate 'Host' header found."), "400 Bad Request"),
        (InvalidHeader(b"x"), "400 Bad Request"),
        (None, "400 Bad Request"),
    ],
)
def test_an_error_of_the_parser_has_a_status(error: BaseException | None, status: str) -> None:
    """Of a line that is too long, the limit tells which one it is."""
    assert status == status_of(error, 4081)


@pytest.mark.parametrize(
    ("peer", "problem", "line"),
    [
        (("192.0.2.1", 4711), "bad", "Invalid request from ip=192.0.2.1: bad"),
        ("", "a\n\x1b[31m\x9b\u2028b", "Invalid request from ip=: a\\n\\x1b[31m\\x9b\\u2028b"),
        (None, "x" * 1000, f"Invalid request from ip=: {'x' * 200}"),
    ],
)
def test_a_line_of_the_log_is_one_line(
    caplog: pytest.LogCaptureFixture, peer: Any, problem: str, line: str
) -> None:
    """However long, and whatever is quoted in it."""
    protocol: Any = SimpleNamespace(peername=peer, logger=logging.getLogger("test"))

    log_refusal(protocol, problem)

    assert [line] == caplog.messages


def test_an_answer_to_head_has_no_body() -> None:
    """The length stays."""
    whole = refusal("400 Bad Request", "server")
    head = refusal("400 Bad Request", "server", with_body=False)

    assert whole == head + b"Bad Request\n"
    assert b"\r\nContent-Length: 12\r\n\r\n" in whole
