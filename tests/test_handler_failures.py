"""Whatever fails, the client learns of it, the log says it once, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from flask import Response, request
from watching import CLOSE, Application, both_places, in_both_places, watched

from flask_aiohttp import await_


def fail() -> Any:
    raise LookupError("broken")


@both_places
async def test_view_that_raises_is_answered_with_500(path: str) -> None:
    """A view that raises costs its own request a 500, and the log one traceback."""
    app = Application()
    in_both_places(app, fail)

    async with watched(app) as served:
        for _ in range(3):
            async with served.session.get(path, headers=CLOSE) as response:
                assert 500 == response.status
                assert "broken" not in await response.text()

    assert 3 == len(app.log.lines)
    assert app.log.lines[0].startswith(f"ERROR Exception on {path} [GET]\nTraceback ")
    assert app.log.lines[0].endswith("LookupError: broken")


@both_places
async def test_middleware_that_raises_is_answered_with_500(path: str) -> None:
    """What fails outside of Flask is answered and logged by the server."""
    app = Application()
    in_both_places(app, lambda: "never")
    wsgi_app = app.wsgi_app

    def broken(environ: dict[str, Any], start_response: Any) -> Any:
        return fail() if environ["PATH_INFO"] == path else wsgi_app(environ, start_response)

    app.wsgi_app = broken
    async with watched(app) as served, served.session.get(path, headers=CLOSE) as response:
        assert (500, "Internal Server Error\n") == (response.status, await response.text())

    assert 1 == len(app.log.lines)
    assert app.log.lines[0].startswith(f"ERROR Error handling request GET {path}\nTraceback ")


@both_places
async def test_teardown_that_raises_is_answered_with_500(path: str) -> None:
    """A teardown that raises fails its request, as Flask says, and not the next one."""
    app = Application()
    in_both_places(app, lambda: "late failure")
    app.teardown_request(lambda _: fail() if request.path == path else None)

    async with watched(app) as served, served.session.get(path, headers=CLOSE) as response:
        assert 500 == response.status

    assert 1 == len(app.log.of(f"ERROR Error handling request GET {path}\n"))


@both_places
async def test_stream_that_fails_before_its_first_part_is_answered_with_500(path: str) -> None:
    """Until the head is sent there is time to answer 500."""
    app = Application()

    def parts() -> Iterator[str]:
        yield ""
        yield fail()

    in_both_places(app, lambda: app.stream(parts()))
    async with watched(app) as served, served.session.get(path, headers=CLOSE) as response:
        assert 500 == response.status

    assert 1 == len(app.log.of(f"ERROR Error handling request GET {path}\nTraceback "))
    assert [path] == app.closed


@both_places
async def test_stream_that_fails_later_is_cut(path: str) -> None:
    """After the head the connection is cut: the client sees that its answer is truncated."""
    app = Application()

    def parts() -> Iterator[str]:
        yield "first"
        await_(asyncio.sleep(0))
        yield fail()

    in_both_places(app, lambda: app.stream(parts()))
    async with watched(app) as served:
        for _ in range(3):
            async with served.session.get(path) as response:
                assert 200 == response.status
                with pytest.raises(aiohttp.ClientPayloadError):
                    await response.read()

    assert 3 == len(app.log.of(f"ERROR Error handling request GET {path}\nTraceback "))
    assert [path] * 3 == app.closed


@both_places
@pytest.mark.parametrize("length", [3, 10])
async def test_body_of_another_length_than_declared_never_misleads(path: str, length: int) -> None:
    """Of a body that is too long the rest is not sent; one that is too short is cut."""
    app = Application()
    in_both_places(app, lambda: Response(iter(["12345"]), headers={"Content-Length": str(length)}))

    async with watched(app) as served, served.session.get(path) as response:
        if length < 5:
            assert b"123" == await response.read()
        else:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()

    assert (length > 5) == len(app.log.of("ERROR"))
    if length > 5:
        assert "its body is 5 bytes shorter than Content-Length" in app.log.lines[0]


@both_places
async def test_close_that_raises_comes_after_a_whole_answer(path: str) -> None:
    """An error in ``close()`` is logged; the answer, sent by then, is whole."""
    app = Application()

    def view() -> Response:
        response = Response("whole")
        response.call_on_close(fail)
        return response

    in_both_places(app, view)
    async with watched(app) as served, served.session.get(path, headers=CLOSE) as response:
        assert b"whole" == await response.read()

    assert 1 == len(app.log.lines)
    assert app.log.lines[0].startswith(f"ERROR Error handling request GET {path}\nTraceback ")


@both_places
async def test_exit_of_a_view_is_an_error_of_its_request(path: str) -> None:
    """``sys.exit()`` in a view ends no server."""
    app = Application()

    def leave() -> None:
        raise SystemExit(3)

    in_both_places(app, leave)
    async with watched(app) as served, served.session.get(path, headers=CLOSE) as response:
        assert 500 == response.status

    assert 1 == len(app.log.of(f"ERROR Error handling request GET {path}\n"))
    assert "the application called sys.exit(3)" in app.log.lines[0]
