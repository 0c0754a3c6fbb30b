"""What a view returns reaches the client the same wherever it runs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import (
    Flask,
    Response,
    flash,
    get_flashed_messages,
    make_response,
    redirect,
    request,
    send_file,
    session,
    stream_with_context,
    url_for,
)

from flask_aiohttp._file_wrapper import FileWrapper

from .ways import WAYS, running

DATA = bytes(range(256)) * 2000


def make_app(file: Path | None = None) -> Flask:
    app = Flask(__name__)
    app.secret_key = "test"

    @app.route("/file")
    async def whole_file() -> Response:
        return send_file(file, mimetype="application/x-test")

    @app.route("/memory")
    def from_memory() -> Response:
        return send_file(io.BytesIO(DATA), mimetype="application/x-test", etag="v1")

    @app.route("/cookies")
    async def cookies() -> Response:
        response = make_response("", 204)
        response.set_cookie("one", "1")
        response.set_cookie("two", "2")
        return response

    @app.route("/redirect")
    def away() -> Response:
        return redirect(url_for("stream", _external=True))

    @app.route("/stream")
    def stream() -> Response:
        @stream_with_context
        def parts() -> Iterator[str]:
            yield "Hello, "
            yield request.args["name"]
            yield ""
            yield "!"

        return Response(parts())

    @app.route("/generator")
    async def generator() -> Iterator[str]:
        def parts() -> Iterator[str]:
            yield "one "
            yield "two"

        return parts()

    @app.route("/length")
    async def with_length() -> Response:
        return Response(iter(["1234", "56789"]), headers={"Content-Length": "9"})

    @app.route("/tuple")
    def with_tuple() -> tuple[dict[str, int], int, dict[str, str]]:
        return {"a": 1}, 201, {"X-Custom": "é"}

    @app.route("/flash")
    async def put() -> str:
        flash("seen once")
        session["visits"] = session.get("visits", 0) + 1
        return ""

    @app.route("/flashed")
    def get() -> dict:
        return {"flashed": get_flashed_messages(), "visits": session["visits"]}

    return app


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "path, status, body",
    [
        ("/stream?name=Ada", 200, b"Hello, Ada!"),
        ("/generator", 200, b"one two"),
        ("/length", 200, b"123456789"),
        ("/memory", 200, DATA),
        ("/tuple", 201, b'{"a":1}\n'),
        ("/cookies", 204, b""),
    ],
)
async def test_body_arrives_whole(way: str, path: str, status: int, body: bytes) -> None:
    """Strings, streams, files and dicts arrive as the view has meant them."""
    async with running(make_app(), way) as client:
        answer = await client(path)

    assert (status, body) == (answer.status, answer.body)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/stream?name=Ada", "/generator", "/tuple", "/cookies"])
async def test_body_is_closed_once(way: str, path: str) -> None:
    """What is to be called at the close of an answer is called once."""
    closed: list[str] = []
    app = make_app()

    @app.after_request
    def listen(response: Response) -> Response:
        response.call_on_close(lambda: closed.append(path))
        return response

    async with running(app, way) as client:
        await client(path)

    assert [path] == closed


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "headers, status, body",
    [
        ({}, 200, DATA),
        ({"Range": "bytes=10-19"}, 206, DATA[10:20]),
        ({"Range": "bytes=-5"}, 206, DATA[-5:]),
        ({"Range": f"bytes={len(DATA)}-"}, 416, None),
    ],
)
async def test_parts_of_a_file_are_sent(
    way: str, tmp_path: Path, headers: dict[str, str], status: int, body: bytes | None
) -> None:
    """A file on disk is sent whole or in the part that was asked for."""
    file = tmp_path / "data.bin"
    file.write_bytes(DATA)

    async with running(make_app(file), way) as client:
        answer = await client("/file", headers=headers)

    assert status == answer.status
    assert body is None or body == answer.body
    assert str(len(answer.body)) == answer.headers["content-length"]


@pytest.mark.parametrize("way", ["loop", "threads"])
async def test_part_of_a_file_is_read_alone(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands before the wanted part of a file is skipped, not read."""
    file = tmp_path / "data.bin"
    file.write_bytes(DATA)
    blocks: list[int] = []
    read = FileWrapper.__next__

    def count(wrapper: FileWrapper) -> bytes:
        block = read(wrapper)
        blocks.append(len(block))
        return block

    monkeypatch.setattr(FileWrapper, "__next__", count)
    async with running(make_app(file), way) as client:
        answer = await client("/file", headers={"Range": "bytes=-5"})

    assert DATA[-5:] == answer.body
    assert [5] == blocks


@pytest.mark.parametrize("way", WAYS)
async def test_known_version_is_not_sent_again(way: str, tmp_path: Path) -> None:
    """A file whose ETag the client has is answered with 304 and no body."""
    file = tmp_path / "data.bin"
    file.write_bytes(DATA)

    async with running(make_app(file), way) as client:
        first = await client("/file")
        second = await client("/file", headers={"If-None-Match": first.headers["etag"]})

    assert (304, b"") == (second.status, second.body)


@pytest.mark.parametrize("way", WAYS)
async def test_head_has_the_fields_and_no_body(way: str) -> None:
    """HEAD gets the Content-Length of the body that GET would get."""
    async with running(make_app(), way) as client:
        answer = await client("/memory", "HEAD")

    assert (200, b"") == (answer.status, answer.body)
    assert str(len(DATA)) == answer.headers["content-length"]


@pytest.mark.parametrize("way", WAYS)
async def test_fields_of_an_answer_arrive(way: str) -> None:
    """Two cookies are two lines, text is latin-1, and a redirect names the host that was asked."""
    async with running(make_app(), way) as client:
        cookies = await client("/cookies")
        custom = await client("/tuple")
        away = await client("/redirect", headers={"Host": "example.org"})

    assert "one=1; Path=/, two=2; Path=/" == cookies.headers["set-cookie"]
    assert "é" == custom.headers["x-custom"]
    assert (302, "http://example.org/stream") == (away.status, away.headers["location"])


@pytest.mark.parametrize("way", WAYS)
async def test_session_goes_to_the_client_and_back(way: str) -> None:
    """What one view puts into the session another one finds in it."""
    async with running(make_app(), way) as client:
        first = await client("/flash")
        cookie = first.headers["set-cookie"].partition(";")[0]
        second = await client("/flashed", headers={"Cookie": cookie})

    assert {"flashed": ["seen once"], "visits": 1} == second.json
