"""A page and a websocket, with Flask."""

from flask import Flask

from flask_aiohttp import AioHTTP, websocket

app = Flask(__name__)
aio = AioHTTP(app)


@app.get("/")
async def page() -> str:
    """Return a small page."""
    return "hello"


@app.route("/echo")
@websocket
async def echo() -> None:
    """Send back what comes."""
    async for message in aio.ws:
        await aio.ws.send_str(message.data)
