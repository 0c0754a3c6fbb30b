"""The same page and websocket, with Quart."""

from quart import Quart, websocket

app = Quart(__name__)


@app.get("/")
async def page() -> str:
    """Return a small page."""
    return "hello"


@app.websocket("/echo")
async def echo() -> None:
    """Send back what comes."""
    while True:
        await websocket.send(await websocket.receive())
