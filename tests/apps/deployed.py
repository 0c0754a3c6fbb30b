"""An application behind a proxy, configured as deploy/README.rst says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from flask import Flask, Response, jsonify, request
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_aiohttp import AioHTTP, sse, websocket

app = Flask(__name__)
aio = AioHTTP(app)
# The scheme is gunicorn's business (secure_scheme_headers).
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_host=1, x_proto=0)  # type: ignore[method-assign]


@app.get("/whoami")
async def whoami() -> Response:
    forwarded = {k: v for k, v in request.environ.items() if "FORWARDED" in k or "PROXY" in k}
    return jsonify(
        address=request.remote_addr, host=request.host, scheme=request.scheme, forwarded=forwarded
    )


@app.post("/upload")
def upload() -> str:
    total = 0
    while piece := request.stream.read(1 << 16):
        total += len(piece)
    return str(total)


@app.get("/events")
async def events() -> Response:
    async def happen() -> AsyncIterator[str]:
        yield "one"
        # Whichever worker has the stream: a file is seen by all.
        while not os.path.exists(os.environ["RELEASED"]):  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.01)
        yield "two"

    return sse(happen())


@app.get("/sync")
def sync() -> str:
    return "sync"


@app.get("/async")
async def late() -> str:
    await asyncio.sleep(0.01)
    return "async"


@app.route("/ws")
@websocket
async def ws() -> None:
    async for message in aio.ws:
        await aio.ws.send_str(f"{request.scheme} {request.remote_addr} {message.data}")
