"""The examples of the Flask-aiohttp documentation of 2015, in today's words.

Each is written twice: with ``async def``, and below ``/yield`` as a generator function with
``yield from``, as it was written then.
"""

import asyncio
import os

import aiohttp
from flask import Blueprint, Flask, Response, request, stream_with_context

from flask_aiohttp import AioHTTP, async_, await_, websocket

app = Flask(__name__)
app.config.from_prefixed_env("CLASSIC")  # CLASSIC_DELAY in seconds, CLASSIC_API: an address
app.config.setdefault("DELAY", 3.0)
aio = AioHTTP(app)
aiohttp_app = app.aiohttp_app
old = Blueprint("old", __name__, url_prefix="/yield")


def client_session() -> aiohttp.ClientSession:
    """Return the one session of this process; it is opened by the first request."""
    if "session" not in app.extensions:
        app.extensions["session"] = aiohttp.ClientSession()
    return app.extensions["session"]


@aio.on_shutdown
async def close_session() -> None:
    if session := app.extensions.pop("session", None):
        await session.close()


@app.route("/late")
async def late():
    await asyncio.sleep(app.config["DELAY"])
    return "Sorry, I'm late!"


@old.route("/late")
@async_
def old_late():
    yield from asyncio.sleep(app.config["DELAY"])
    return "Sorry, I'm late!"


@app.route("/api")
async def api():
    async with client_session().get(app.config["API"]) as response:
        return await response.read()


@old.route("/api")
@async_
def old_api():
    response = yield from client_session().get(app.config["API"])
    return (yield from response.read())


@app.route("/param")
async def param():
    await asyncio.sleep(app.config["DELAY"])

    @stream_with_context
    def parts():
        yield f"{request.args['a']} "
        await_(asyncio.sleep(app.config["DELAY"]))
        yield request.args["b"]

    return Response(parts())


@old.route("/param")
@async_
def old_param():
    yield from asyncio.sleep(app.config["DELAY"])

    @stream_with_context
    def parts():
        yield f"{request.args['a']} "
        await_(asyncio.sleep(app.config["DELAY"]))
        yield request.args["b"]

    return Response(parts())


@app.route("/echo")
@websocket
async def echo():
    while True:
        msg = await aio.ws.receive()
        if msg.type == aiohttp.WSMsgType.TEXT:
            await aio.ws.send_str(msg.data)
        elif msg.type == aiohttp.WSMsgType.CLOSE:
            print("websocket closed", flush=True)
            break


@old.route("/echo")
@websocket
def old_echo():
    while True:
        msg = yield from aio.ws.receive()
        if msg.type == aiohttp.WSMsgType.TEXT:
            yield from aio.ws.send_str(msg.data)
        elif msg.type == aiohttp.WSMsgType.CLOSE:
            print("websocket closed", flush=True)
            break


@app.route("/hello/<name>")
@websocket(failure_status_code=404)
async def hello(name):
    async for msg in aio.ws:
        await aio.ws.send_str(f"{msg.data}, {name}")


@old.route("/hello/<name>")
@websocket(failure_status_code=404)
def old_hello(name):
    while True:
        msg = yield from aio.ws.receive()
        if msg.type != aiohttp.WSMsgType.TEXT:
            break
        yield from aio.ws.send_str(f"{msg.data}, {name}")


@app.route("/pid")
def pid():
    return str(os.getpid())


app.register_blueprint(old)

if __name__ == "__main__":
    aio.run(app, port=0)
