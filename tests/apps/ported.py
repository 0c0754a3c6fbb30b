"""The lines of the README's table, from Flask-aiohttp (2015) to today, in one application."""

from __future__ import annotations

import asyncio

import aiohttp
from flask import Flask, request
from flask_aiohttp import AioHTTP
from flask_aiohttp import async_, websocket
from flask_aiohttp.helper import async_, websocket

app = Flask(__name__)
aio = AioHTTP(app)


class M:
    """Plain WSGI middleware, which counts what passes it."""

    def __init__(self, wsgi):
        self.wsgi = wsgi
        self.count = 0

    def __call__(self, environ, start_response):
        self.count += 1
        return self.wsgi(environ, start_response)


app.wsgi_app = M(app.wsgi_app)
aiohttp_app = app.aiohttp_app


@aio.lifespan
async def client_session():
    async with aiohttp.ClientSession() as session:
        app.extensions["session"] = session
        yield


@app.get("/late")
async def late():
    await asyncio.sleep(0.01)
    return "Sorry, I'm late!"


@app.get("/late-generator")
@async_
def late_generator():
    yield from asyncio.sleep(0.01)
    return "Sorry, I'm late!"


@app.get("/api")
async def api():
    session = app.extensions["session"]
    url = request.host_url + "late"
    async with session.get(url) as response:
        data = await response.read()
    return {"data": data.decode()}


@app.route("/echo")
@websocket(failure_status_code=404)
async def echo():
    assert aio.ws is request.environ["wsgi.websocket"]
    while True:
        msg = await aio.ws.receive()
        if msg.type == aiohttp.WSMsgType.TEXT:
            await aio.ws.send_str(msg.data)
        elif msg.type == aiohttp.WSMsgType.CLOSE:
            break
        elif msg.type == aiohttp.WSMsgType.ERROR:
            print("failed", aio.ws.exception())
            break


@app.route("/echo-for")
@websocket
async def echo_for():
    async for msg in aio.ws:
        await aio.ws.send_str(msg.data)


@app.get("/count")
def count():
    return str(app.wsgi_app.count)


if __name__ == "__main__":
    aio.run(app, debug=True)
