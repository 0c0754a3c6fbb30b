"""What gunicorn's hooks and loggers are shown of a request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from flask_aiohttp._exchange import Exchange
from flask_aiohttp._proxy_protocol import Header
from flask_aiohttp_worker._message import Request

NOTHING = {"client_addr": None, "client_port": None, "proxy_addr": None, "proxy_port": None}
ALL = {
    "client_addr": "192.0.2.1",
    "client_port": 4711,
    "proxy_addr": "192.0.2.2",
    "proxy_port": 443,
}


def request_with(environ: dict[str, Any]) -> Request:
    usual = {"REQUEST_METHOD": "GET", "RAW_URI": "/", "wsgi.url_scheme": "http"}
    exchange = SimpleNamespace(environ=usual | environ, version=(1, 1))
    request = SimpleNamespace(raw_headers=(), protocol=SimpleNamespace(peername=None))
    return Request(cast("web.BaseRequest", request), cast("Exchange", exchange))


@pytest.mark.parametrize(
    ("header", "addresses"),
    [
        (Header("TCP4", ("192.0.2.1", 4711), ("192.0.2.2", 443)), ALL),
        (Header("LOCAL"), NOTHING),
        (Header("UNSPEC"), NOTHING),
        (Header("UNKNOWN"), NOTHING),
    ],
)
def test_what_a_proxy_said_is_shown_as_by_gunicorn(
    header: Header, addresses: dict[str, Any]
) -> None:
    """Also of its health checks, over a Unix socket too: then there are no addresses."""
    shown = request_with({"REMOTE_ADDR": ""} | header.environ()).proxy_protocol_info

    assert {"proxy_protocol": header.protocol} | addresses == shown


def test_without_a_proxys_word_nothing_is_shown() -> None:
    """As with gunicorn."""
    assert request_with({"REMOTE_ADDR": "192.0.2.1"}).proxy_protocol_info is None
