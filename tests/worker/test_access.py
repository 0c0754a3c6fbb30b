"""gunicorn's access log tells of each request, once, when it has ended."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from harness import Gunicorn, wait_for

from .conftest import Release

ATOMS = (
    "%(h)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%({x-client}i)s|%({content-type}o)s|"
    "%({wsgi.url_scheme}e)s|%(u)s|%(f)s"
)


def access_lines(server: Gunicorn) -> list[str]:
    """The lines of the access log in gunicorn's own format, without address and date."""
    return re.findall(r'^127\.0\.0\.1 - - \[[^]]+\] (".*)$', server.log, re.MULTILINE)


@pytest.fixture(name="server")
def _server(gunicorn: Callable[..., Gunicorn]) -> Gunicorn:
    return gunicorn("worker_demo:app", "--access-logfile", "-")


@pytest.mark.parametrize("path", ["/sync", "/async", "/missing"])
def test_an_answer_is_logged_with_its_status_and_size(server: Gunicorn, path: str) -> None:
    """The line has gunicorn's form, and counts the bytes of the body without the head."""
    status, _, text = server.request(path, headers={"User-Agent": "test", "Referer": "http://a/"})

    server.wait_for_log(f'"GET {path} HTTP/1.1"')

    assert [f'"GET {path} HTTP/1.1" {status} {len(text)} "http://a/" "test"'] == access_lines(
        server
    )


def test_a_streamed_answer_is_logged_at_its_end(server: Gunicorn, release: Release) -> None:
    """Nothing is logged while it runs; then its bytes are counted without the chunks' framing."""
    answer = server.request_in_thread(f"/stream?until={release.path}")
    server.wait_for_log("held")

    early = access_lines(server)
    release()
    _, headers, text = answer.result()
    server.wait_for_log('"GET /stream')

    assert [] == early
    assert "chunked" == headers["transfer-encoding"]
    [line] = access_lines(server)
    assert line.split('HTTP/1.1" ')[1].startswith(f"200 {len(text)} ")


async def test_a_websocket_is_logged_once_at_its_end(server: Gunicorn) -> None:
    """A websocket is one line, with status 101, when it has closed."""
    async with aiohttp.ClientSession(server.url) as session:
        async with session.ws_connect("/ws") as ws:
            await ws.send_str("hello")
            await ws.receive_str()
            early = access_lines(server)
        wait_for(lambda: access_lines(server), "the line")

    assert [] == early
    [line] = access_lines(server)
    assert line.startswith('"GET /ws HTTP/1.1" 101 ')


def test_a_format_of_ones_own_is_filled_in(gunicorn: Callable[..., Gunicorn]) -> None:
    """Every atom of gunicorn's works, those for headers and for the environ too."""
    server = gunicorn("worker_demo:app", "--access-logfile", "-", "--access-logformat", ATOMS)

    server.request("/async?a=1", headers={"X-Client": "me", "Authorization": "Basic dTpw"})
    line = wait_for(lambda: re.findall(r"^127\.0\.0\.1\|.*$", server.log, re.MULTILINE), "a line")

    pid = server.workers[0]
    size = len(f"loop {pid}")
    expected = f"127.0.0.1|GET|/async|a=1|HTTP/1.1|200|{size}|me|text/html; charset=utf-8|http|u|-"
    assert [expected] == line


def test_no_access_log_is_the_default(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    """Nothing is written about requests unless gunicorn was asked to."""
    server = gunicorn("worker_demo:app")

    server.get("/async")
    server.stop()

    assert "/async" not in server.log
