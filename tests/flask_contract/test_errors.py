"""A failure is answered, handled and logged the same wherever the request runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, abort
from werkzeug.exceptions import HTTPException, InternalServerError

from .ways import WAYS, running


class Full(Exception):
    pass


def make_app() -> Flask:
    """Return an application whose views fail, and whose handlers handle some of it."""
    app = Flask(__name__)
    part = Blueprint("part", __name__, url_prefix="/part")
    app.config["PROPAGATE_EXCEPTIONS"] = False

    @app.errorhandler(Full)
    async def full(error: Full) -> tuple[str, int]:
        return f"full: {error}", 507

    @app.errorhandler(404)
    def missing(error: HTTPException) -> tuple[str, int]:
        return "missing", 404

    @part.errorhandler(404)
    async def missing_part(error: HTTPException) -> tuple[str, int]:
        return "missing part", 404

    @part.route("/abort")
    async def abort_part() -> None:
        abort(404)

    app.register_blueprint(part)

    @app.route("/<mode>/full", endpoint="full")
    async def raise_full(mode: str) -> None:
        raise Full("no space")

    @app.route("/sync/fails")
    def sync_fails() -> None:
        raise RuntimeError("secret of a sync view")

    @app.route("/async/fails")
    async def async_fails() -> None:
        raise RuntimeError("secret of an async view")

    @app.route("/async/nothing")
    async def async_nothing() -> None:
        pass

    @app.route("/sync/nothing")
    def sync_nothing() -> None:
        pass

    @app.route("/teapot")
    async def teapot() -> None:
        abort(418, "short and stout")

    return app


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "path, status, text",
    [
        ("/async/full", 507, "full: no space"),
        ("/missing", 404, "missing"),
        ("/part/abort", 404, "missing part"),
        ("/teapot", 418, "short and stout"),
        ("/sync/fails", 500, "Internal Server Error"),
        ("/async/fails", 500, "Internal Server Error"),
        ("/sync/nothing", 500, "Internal Server Error"),
        ("/async/nothing", 500, "Internal Server Error"),
    ],
)
async def test_failure_gets_the_answer_of_its_handler(
    way: str, path: str, status: int, text: str
) -> None:
    """A failure ends in the handler that was registered for it, or in Flask's 500."""
    app = make_app()

    async with running(app, way) as client:
        answer = await client(path)

    assert status == answer.status
    assert text in answer.text
    assert "secret" not in answer.text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_failure_is_logged_once_with_the_line_of_the_view(
    way: str, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One traceback is logged, and it ends in the view."""
    async with running(make_app(), way) as client:
        await client(f"/{mode}/fails")

    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert 1 == len(errors)
    assert f"Exception on /{mode}/fails [GET]" == errors[0].getMessage()
    assert f"in {mode}_fails" in caplog.text


def _before(app: Flask, hook: Callable[..., Any]) -> None:
    app.before_request(hook)


def _after(app: Flask, hook: Callable[..., Any]) -> None:
    app.after_request(hook)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("register", [_before, _after])
@pytest.mark.parametrize("is_async", [False, True])
async def test_hook_that_raises_is_answered_with_500(
    way: str, register: Callable[..., None], is_async: bool
) -> None:
    """A hook that raises fails its request, and not the next one."""
    app = make_app()
    failures = [RuntimeError("secret of a hook")]

    def sync_hook(response: Any = None) -> Any:
        if failures:
            raise failures.pop()
        return response

    async def async_hook(response: Any = None) -> Any:
        return sync_hook(response)

    register(app, async_hook if is_async else sync_hook)
    async with running(app, way) as client:
        first = await client("/teapot")
        second = await client("/teapot")

    assert (500, 418) == (first.status, second.status)
    assert "secret" not in first.text


@pytest.mark.parametrize("way", WAYS)
async def test_handler_of_500_gets_the_cause(way: str) -> None:
    """The handler of InternalServerError finds what the async view raised."""
    app = make_app()
    causes: list[BaseException | None] = []

    @app.errorhandler(InternalServerError)
    async def handle(error: InternalServerError) -> tuple[str, int]:
        causes.append(error.original_exception)
        return "sorry", 500

    async with running(app, way) as client:
        answer = await client("/async/fails")

    assert "sorry" == answer.text
    assert "secret of an async view" == str(causes[0])
