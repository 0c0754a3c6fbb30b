"""The validators of WSGI have nothing to say."""

from __future__ import annotations

import asyncio
from wsgiref.validate import validator

import aiohttp
import pytest
from flask import Flask, Response, redirect, request, send_file, stream_with_context
from harness import serve
from werkzeug.middleware.lint import LintMiddleware

from flask_aiohttp import AioHTTP, await_


def echo(environ, start_response):
    """Answer with the body, read in pieces of each kind."""
    source = environ["wsgi.input"]
    lines = [source.read(3), source.readline(), *source.readlines(1), source.read(1 << 20)]
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(b"written ")
    return [b"".join(lines)]


def lazy(environ, start_response):
    """Begin the answer with the first piece, and stream the rest."""

    def pieces():
        start_response("201 Created", [("Content-Type", "text/plain"), ("X-Kind", "lazy")])
        yield b"first "
        yield b""
        yield b"second"

    return pieces()


def empty(environ, start_response):
    start_response("204 No Content", [])
    return []


@pytest.mark.parametrize(
    ("application", "method", "body", "status", "expected"),
    [
        (echo, "POST", b"abcdef\nghi\njkl", 200, b"written abcdef\nghi\njkl"),
        (echo, "POST", b"x" * 200_000, 200, b"written " + b"x" * 200_000),
        (echo, "GET", None, 200, b"written "),
        (lazy, "GET", None, 201, b"first second"),
        (lazy, "HEAD", None, 201, b""),
        (empty, "DELETE", None, 204, b""),
    ],
)
async def test_validator_of_the_standard_library_is_silent(
    application, method, body, status, expected
):
    """``wsgiref.validate`` finds no fault with the environ, the input, or how we iterate."""
    async with (
        serve(validator(application)) as served,
        served.session.request(method, "/path?query=1", data=body) as response,
    ):
        assert status == response.status
        assert expected == await response.read()


# That one is about Werkzeug's own way to read, which input_terminated makes safe.
@pytest.mark.filterwarnings("ignore:WSGI does not guarantee an EOF marker")
@pytest.mark.parametrize("place", ["loop", "thread"])
async def test_lint_middleware_is_silent_over_flask(tmp_path, place):
    """Werkzeug's ``LintMiddleware`` finds no fault either; its warnings are errors here."""
    app = Flask("linted")
    AioHTTP(app)
    (tmp_path / "file.txt").write_text("file" * 1000)

    def route(path, **options):
        def register(view):
            async def async_view():
                return view()

            app.add_url_rule(path, path, async_view if place == "loop" else view, **options)

        return register

    @route("/json", methods=["POST"])
    def json():
        return request.get_json()

    @route("/form", methods=["POST"])
    def form():
        return request.form["name"] + request.files["file"].read().decode()

    @route("/stream")
    def stream():
        def pieces():
            yield "one "
            yield await_(asyncio.sleep(0, request.path))

        return Response(stream_with_context(pieces()))

    @route("/redirect")
    def moved():
        return redirect(request.host_url + "stream")  # the linter wants all of it

    @route("/nothing")
    def nothing():
        return "", 204

    @route("/file")
    def file():
        return send_file(tmp_path / "file.txt")

    app.wsgi_app = LintMiddleware(app.wsgi_app)
    form_data = aiohttp.FormData({"name": "ada "})
    form_data.add_field("file", b"content", filename="a.txt")
    async with serve(app) as served:
        session = served.session
        async with session.post("/json", json={"a": 1}) as response:
            assert {"a": 1} == await response.json()
        async with session.post("/form", data=form_data) as response:
            assert "ada content" == await response.text()
        async with session.get("/redirect") as response:
            assert "one /stream" == await response.text()
        for method in ("GET", "HEAD"):
            async with session.request(method, "/nothing") as response:
                assert 204 == response.status
            async with session.request(method, "/file") as response:
                assert "4000" == response.headers["Content-Length"]
        async with session.get("/missing") as response:
            assert 404 == response.status
