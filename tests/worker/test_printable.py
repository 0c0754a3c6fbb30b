"""The access log shows what a client wrote, but does not do what it says."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from flask_aiohttp_worker._printable import printable


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:secret".encode()).decode()


@pytest.mark.parametrize(
    "environ",
    [
        {"RAW_URI": "/", "PATH_INFO": "/"},
        {"RAW_URI": "/caf%C3%A9", "PATH_INFO": "/caf\xc3\xa9"},
        {"RAW_URI": "/", "HTTP_AUTHORIZATION": basic("caf\xe9")},
        {"RAW_URI": "/", "HTTP_AUTHORIZATION": "Basic nonsense"},
        {"RAW_URI": "/", "HTTP_AUTHORIZATION": "Bearer \xe9"},
        {"RAW_URI": "/", "HTTP_AUTHORIZATION": ""},
    ],
)
def test_the_usual_stays_as_it_is(environ: dict[str, Any]) -> None:
    """Field by field what gunicorn's own workers log."""
    assert environ == printable(environ)


def test_a_path_is_shown_with_escapes() -> None:
    """The application's own environ keeps what was sent."""
    environ = {"RAW_URI": "/%0a%1b", "PATH_INFO": "/\n\x1b"}

    assert "/\\x0a\\x1b" == printable(environ)["PATH_INFO"]
    assert "/\n\x1b" == environ["PATH_INFO"]


def test_a_user_is_shown_with_escapes() -> None:
    """gunicorn decodes it after this."""
    environ = {"RAW_URI": "/", "HTTP_AUTHORIZATION": basic("a\nb\x1b")}

    encoded = printable(environ)["HTTP_AUTHORIZATION"].partition(" ")[2]

    assert b"a\\x0ab\\x1b:secret" == base64.b64decode(encoded)
