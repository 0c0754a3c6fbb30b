"""A view sees the same request wherever it runs."""

from __future__ import annotations

import json

import pytest
from flask import Flask, Response, request

from .ways import WAYS, running

FORM = (
    b'--sep\r\nContent-Disposition: form-data; name="title"\r\n\r\nSummer\r\n'
    b'--sep\r\nContent-Disposition: form-data; name="photo"; filename="sea.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\n" + b"\xff" * 100_000 + b"\r\n--sep--\r\n"
)


def make_app() -> Flask:
    app = Flask(__name__)

    @app.route("/echo/", methods=["GET", "POST", "PUT"])
    async def echo() -> Response:
        values = {
            "method": request.method,
            "path": request.path,
            "query": request.query_string.decode(),
            "args": request.args.to_dict(flat=False),
            "cookies": request.cookies,
            "type": request.content_type,
            "custom": request.headers.get("X-Custom"),
            "host": request.host,
            "scheme": request.scheme,
            "body": request.get_data(as_text=True),
        }
        return Response(json.dumps(values, sort_keys=True), mimetype="application/json")

    @app.route("/segments/<path:rest>")
    def segments(rest: str) -> list[str]:
        return [rest, request.full_path, request.url]

    @app.post("/json")
    async def load_json() -> dict:
        return {"got": request.get_json()}

    @app.post("/form")
    def form() -> dict:
        photo = request.files["photo"]
        return {
            "title": request.form["title"],
            "name": photo.filename,
            "type": photo.mimetype,
            "size": len(photo.read()),
        }

    @app.post("/limited")
    async def limited() -> str:
        request.max_content_length = 10
        return request.get_data(as_text=True)

    @app.post("/lines")
    def lines() -> list[str]:
        return [line.decode() for line in request.stream]

    @app.post("/unread")
    async def unread() -> str:
        return "not interested"

    @app.route("/methods", methods=["GET", "DELETE"])
    def methods() -> str:
        return request.method

    return app


@pytest.mark.parametrize("way", WAYS)
async def test_facts_of_a_request_are_those_that_were_sent(way: str) -> None:
    """Method, path, query, cookies, fields and body are what the client has sent."""
    async with running(make_app(), way) as client:
        answer = await client(
            "/echo/?a=1&a=%C3%A9&b",
            "PUT",
            {"Cookie": "one=1; two=2", "X-Custom": "yes, no", "Content-Type": "text/plain"},
            "Grüße".encode(),
        )

    assert {
        "method": "PUT",
        "path": "/echo/",
        "query": "a=1&a=%C3%A9&b",
        "args": {"a": ["1", "é"], "b": [""]},
        "cookies": {"one": "1", "two": "2"},
        "type": "text/plain",
        "custom": "yes, no",
        "host": "localhost",
        "scheme": "http",
        "body": "Grüße",
    } == answer.json


@pytest.mark.parametrize("way", WAYS)
async def test_escapes_of_a_path_are_resolved_once(way: str) -> None:
    """Escaped letters, slashes and percent signs reach the view as Werkzeug gives them."""
    async with running(make_app(), way) as client:
        answer = await client("/segments/a%20b/%C3%BC/c%2Fd/100%2525?q=%20")

    assert [
        "a b/ü/c/d/100%25",
        "/segments/a b/ü/c/d/100%25?q=%20",
        "http://localhost/segments/a%20b/ü/c/d/100%25?q=%20",
    ] == answer.json


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "path, method, headers, body, status, text",
    [
        ("/json", "POST", {"Content-Type": "application/json"}, b'{"a": [1]}', 200, '{"got":'),
        ("/json", "POST", {"Content-Type": "application/json"}, b"{", 400, "Bad Request"),
        ("/json", "POST", {"Content-Type": "text/plain"}, b"{}", 415, "Unsupported Media Type"),
        ("/limited", "POST", {}, b"123456789", 200, "123456789"),
        ("/limited", "POST", {}, b"12345678901", 413, "Request Entity Too Large"),
        ("/lines", "POST", {}, b"one\ntwo\n\nend", 200, '["one\\n","two\\n","\\n","end"]'),
        ("/lines", "POST", {}, b"", 200, "[]"),
        ("/unread", "POST", {}, b"x" * 10_000, 200, "not interested"),
        ("/methods", "DELETE", {}, None, 200, "DELETE"),
        ("/methods", "HEAD", {}, None, 200, ""),
        ("/methods", "POST", {}, b"", 405, "Method Not Allowed"),
        ("/echo", "GET", {}, None, 308, "Redirecting"),
        ("/nowhere", "GET", {}, None, 404, "Not Found"),
        ("/methods", "OPTIONS", {}, None, 200, ""),
    ],
)
async def test_request_is_judged_as_flask_judges_it(
    way: str,
    path: str,
    method: str,
    headers: dict[str, str],
    body: bytes | None,
    status: int,
    text: str,
) -> None:
    """Good and bad requests get Flask's own answers."""
    async with running(make_app(), way) as client:
        answer = await client(path, method, headers, body)

    assert status == answer.status
    assert text in answer.text
    assert ("" == text) == ("" == answer.text)


@pytest.mark.parametrize("way", WAYS)
async def test_uploaded_file_arrives_with_its_form(way: str) -> None:
    """A form with a file larger than what is kept in memory is parsed by Werkzeug."""
    async with running(make_app(), way) as client:
        answer = await client(
            "/form", "POST", {"Content-Type": "multipart/form-data; boundary=sep"}, FORM
        )

    assert {
        "title": "Summer",
        "name": "sea.jpg",
        "type": "image/jpeg",
        "size": 100_000,
    } == answer.json


@pytest.mark.parametrize("way", WAYS)
async def test_allowed_methods_are_told(way: str) -> None:
    """OPTIONS is answered by Flask, whatever the view's place."""
    async with running(make_app(), way) as client:
        answer = await client("/methods", "OPTIONS")

    assert {"GET", "HEAD", "DELETE", "OPTIONS"} == set(answer.headers["allow"].split(", "))
