"""What the settings are tried with; it is served by gunicorn's own workers too."""

import asyncio
import io
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from flask import Flask, Response, request, send_file
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_aiohttp import AioHTTP, await_, cancel_on_disconnect, has_client, websocket

app = Flask(__name__)
aio = AioHTTP(app)


@app.route("/sync", methods=["GET", "POST"])
def sync_view() -> str:
    return "sync"


@app.route("/async", methods=["GET", "POST"])
async def async_view() -> str:
    await asyncio.sleep(0)
    return "async"


@app.route("/echo", methods=["POST"])
def echo() -> bytes:
    return request.get_data()


@app.route("/stream")
def stream() -> Response:
    return Response(iter(["one", "", "three"]), headers={"X-Own": "a"})


@app.route("/async-stream")
async def async_stream() -> AsyncIterator[str]:
    for part in ("one", "two", "three"):
        await asyncio.sleep(0)
        yield part


@app.route("/headers")
def headers() -> Response:
    response = Response("body", status="299 Of Our Own")
    response.headers.extend([("X-Twice", "1"), ("X-Twice", "2"), ("X-Name", "caf\xe9")])
    response.set_cookie("a", "b")
    return response


@app.route("/file")
def file() -> Response:
    return send_file(Path(__file__), conditional=False)


@app.route("/memory-file")
def memory_file() -> Response:
    return send_file(io.BytesIO(b"x" * 100), mimetype="text/plain")


@app.route("/empty")
def empty() -> tuple[str, int]:
    return "", 204


@app.route("/not-modified")
def not_modified() -> Response:
    response = Response("body")
    response.set_etag("tag")
    return response.make_conditional(request)


@app.route("/fail")
def fail() -> str:
    raise ValueError("on purpose")


@app.route("/fail-later")
def fail_later() -> Response:
    def parts() -> Iterator[str]:
        yield "first"
        raise ValueError("on purpose")

    return Response(parts())


@app.route("/short")
def short() -> Response:
    return Response(iter(["short"]), headers={"Content-Length": "50"})


@app.route("/long")
def too_long() -> Response:
    return Response(iter(["much ", "too ", "long"]), headers={"Content-Length": "7"})


@app.route("/where")
def where() -> str:
    return f"{threading.get_ident()} {os.getpid()}"


@app.route("/environ")
def environ() -> dict[str, str]:
    return {k: str(v) for k, v in request.environ.items() if isinstance(v, (str, bool))}


@app.route("/ws")
@websocket
async def ws() -> None:
    async for message in aio.ws:
        await aio.ws.send_str(message.data)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@app.route("/cancelled")
@cancel_on_disconnect
async def cancelled() -> str:
    """Wait for a file, or for ever."""
    print("waiting", flush=True)
    try:
        await until(lambda: not has_client())
        print("client has left", flush=True)
        await until(Path(request.args.get("until", "never")).exists)
    except asyncio.CancelledError:
        print("cancelled", flush=True)
        raise
    print("ended", flush=True)
    return ""


@app.before_request
def use_the_loop() -> None:
    """Wait, as extensions do, wherever the request runs."""
    await_(asyncio.sleep(0))


class Failing:
    """Fails before there is an answer, as middleware may."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/raises":
            raise ValueError("on purpose")
        return self.app(environ, start_response)


failing = Failing(app)
proxied = ProxyFix(failing)


@app.route("/where-async")
async def where_async() -> str:
    return where()
