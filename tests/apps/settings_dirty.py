"""Asks gunicorn's "dirty" processes, from both kinds of view."""

from flask import Flask
from gunicorn.dirty import get_dirty_client, get_dirty_client_async
from gunicorn.dirty.app import DirtyApp


class Adder(DirtyApp):
    """What runs in a process of its own."""

    def add(self, first: int, second: int) -> int:
        return first + second


app = Flask(__name__)


@app.route("/async")
async def async_view() -> str:
    client = await get_dirty_client_async()
    return str(await client.execute_async("settings_dirty:Adder", "add", 1, 2))


@app.route("/sync")
def sync_view() -> str:
    return str(get_dirty_client().execute("settings_dirty:Adder", "add", 1, 2))
