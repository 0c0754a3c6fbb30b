"""Notifications: a plain sync view sends them, and every open page shows them.

gunicorn notifications:app -k flask_aiohttp_worker.Worker -w 2

A program that is no worker may send them too, if all know a Redis:

AIOHTTP_ROOMS_URL=redis://localhost flask --app notifications ship 17
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import click
from flask import Flask, Response, render_template, request

from flask_aiohttp import AioHTTP, Event, await_, sse

app = Flask(__name__)
app.config["AIOHTTP_ROOMS_URL"] = os.environ.get("AIOHTTP_ROOMS_URL")
aio = AioHTTP(app)


@app.get("/")
def index() -> str:
    return render_template("index.html", worker=os.getpid())


@app.post("/orders")
def order() -> tuple[dict[str, Any], int]:
    """A view like any other: it may use a blocking database, and tells all who look on."""
    item = request.form.get("item", "").strip()[:50] or "something"
    await_(aio.rooms.send("orders", {"text": f"Somebody has ordered {item}.", "by": os.getpid()}))
    return {"ordered": item}, 201


@app.get("/notifications")
async def notifications() -> Response:
    async def events() -> AsyncIterator[Any]:
        async with aio.rooms.listen("orders") as messages:
            # From here on nothing is missed; the page shows which worker it hears.
            yield Event({"worker": os.getpid()}, event="listening")
            async for message in messages:
                yield message

    return sse(events())


@app.cli.command("ship")
@click.argument("number", type=int)
def ship(number: int) -> None:
    """Tell all who look on that an order is on its way."""
    await_(aio.rooms.send("orders", {"text": f"Order {number} is on its way.", "by": os.getpid()}))


if __name__ == "__main__":
    aio.run(app)
