"""Files as answers: sent by the kernel where it can, and right everywhere."""

from __future__ import annotations

import gzip
import hashlib
import io

import pytest
from flask import Flask, send_file
from harness import serve

from flask_aiohttp import AioHTTP

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture(name="app")
def _app(tmp_path):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "file.bin").write_bytes(CONTENT)
    (tmp_path / "static" / "empty.bin").write_bytes(b"")
    app = Flask("files", root_path=str(tmp_path))
    AioHTTP(app)

    @app.get("/async/<name>")
    async def from_async_view(name):
        return send_file(tmp_path / "static" / name)

    @app.get("/memory")
    async def from_memory():
        return send_file(io.BytesIO(CONTENT), mimetype="application/octet-stream")

    @app.get("/shrunk")
    async def shrunk():
        response = send_file(tmp_path / "static" / "file.bin", etag=False)
        response.content_length = len(CONTENT) + 10
        return response

    return app


@pytest.fixture(name="kernel_sends")
def _kernel_sends(monkeypatch):
    """Count the bytes that the kernel has sent."""
    from flask_aiohttp._writer import Connection

    sent = []
    original = Connection.send_file

    async def send_file_and_count(self, *args):
        sent.append(await original(self, *args))
        return sent[-1]

    monkeypatch.setattr(Connection, "send_file", send_file_and_count)
    return sent


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("path", ["/static/file.bin", "/async/file.bin"])
async def test_file_is_sent_by_the_kernel(app, kernel_sends, path):
    """A static file and ``send_file()`` go out through sendfile, from threads and from the loop."""
    async with serve(app) as served, served.session.get(path) as response:
        assert digest(CONTENT) == digest(await response.read())

    assert [len(CONTENT)] == kernel_sends


async def test_file_is_sent_in_pieces_where_sendfile_is_off(app, kernel_sends):
    """gunicorn's ``--no-sendfile`` is obeyed."""
    async with (
        serve(app, sendfile=False) as served,
        served.session.get("/static/file.bin") as response,
    ):
        assert digest(CONTENT) == digest(await response.read())

    assert [] == kernel_sends


async def test_file_that_is_only_memory_is_sent_in_pieces(app, kernel_sends):
    """What has no file descriptor is read and written."""
    async with serve(app) as served, served.session.get("/memory") as response:
        assert digest(CONTENT) == digest(await response.read())

    assert [] == kernel_sends


@pytest.mark.parametrize("path", ["/static/file.bin", "/async/file.bin"])
async def test_part_of_a_file_is_the_part_that_was_asked_for(app, path):
    """Range requests answer 206 with exactly that range."""
    headers = {"Range": "bytes=300000-300099"}
    async with serve(app) as served, served.session.get(path, headers=headers) as response:
        body = await response.read()

    assert 206 == response.status
    assert CONTENT[300000:300100] == body


async def test_unchanged_file_is_not_sent_again(app, kernel_sends):
    """A conditional request is answered 304 without a body."""
    async with serve(app) as served:
        async with served.session.get("/static/file.bin") as first:
            await first.read()
        headers = {"If-None-Match": first.headers["ETag"]}
        async with served.session.get("/static/file.bin", headers=headers) as second:
            assert b"" == await second.read()

    assert 304 == second.status
    assert 1 == len(kernel_sends)


async def test_head_of_a_file_tells_its_length_and_sends_nothing(app, kernel_sends):
    """HEAD has the Content-Length of GET."""
    async with serve(app) as served, served.session.head("/static/file.bin") as response:
        assert str(len(CONTENT)) == response.headers["Content-Length"]

    assert [] == kernel_sends


async def test_empty_file_is_an_empty_answer(app):
    """A file without bytes is served, and the connection goes on."""
    async with serve(app) as served:
        for _ in range(2):
            async with served.session.get("/async/empty.bin") as response:
                assert b"" == await response.read()
        assert 200 == response.status


async def test_file_shorter_than_its_content_length_is_cut(app, caplog):
    """A file that has shrunk cannot be taken for whole."""
    import aiohttp

    async with serve(app) as served:
        with pytest.raises(aiohttp.ClientPayloadError):
            async with served.session.get("/shrunk") as response:
                await response.read()

    assert "10 bytes shorter than Content-Length" in caplog.text


async def test_file_whose_bytes_are_not_those_of_its_descriptor_is_read(app, tmp_path):
    """A compressed file is sent as it reads, not as it lies on the disk."""
    with gzip.open(tmp_path / "file.gz", "wb") as file:
        file.write(CONTENT)

    @app.get("/unpacked")
    async def unpacked():
        file = gzip.open(tmp_path / "file.gz")  # noqa: SIM115 - the response closes it
        response = send_file(file, mimetype="text/plain")
        response.content_length = len(CONTENT)
        return response

    async with serve(app) as served, served.session.get("/unpacked") as response:
        assert digest(CONTENT) == digest(await response.read())


@pytest.mark.parametrize("field", ["X-Sendfile", "X-Accel-Redirect"])
async def test_file_that_a_proxy_sends_has_no_body_here(app, field, caplog):
    """The head is whole, and the connection is used again."""

    @app.get("/proxied")
    async def proxied():
        return "", {field: "/protected/file.bin", "Content-Length": "1048576"}

    async with serve(app) as served:
        for _ in range(2):
            async with served.session.get("/proxied") as response:
                assert b"" == await response.read()
        assert "/protected/file.bin" == response.headers[field]
        assert "Connection" not in response.headers

    assert "" == caplog.text
