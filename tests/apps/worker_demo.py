"""What the worker's tests talk to: each kind of view, and ways to keep one waiting."""

import asyncio
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from flask import Flask, Response, request, stream_with_context

from flask_aiohttp import AioHTTP, await_, websocket

app = Flask(__name__)
app.config.from_prefixed_env()
aio = AioHTTP(app)


def say(text: str) -> None:
    """Write to gunicorn's log."""
    print(text, flush=True)


@aio.on_startup
def start() -> None:
    say(f"hook: startup {os.getpid()}")


@aio.on_shutdown
async def stop() -> None:
    await asyncio.sleep(0)
    say(f"hook: shutdown {os.getpid()}")


def here() -> str:
    place = "loop" if threading.current_thread() is threading.main_thread() else "thread"
    return f"{place} {os.getpid()}"


@app.route("/sync")
def sync_view() -> str:
    return here()


@app.route("/async")
async def async_view() -> str:
    await asyncio.sleep(0)
    return here()


@app.route("/environ")
def environ() -> str:
    return json.dumps({k: v for k, v in request.environ.items() if isinstance(v, (str, bool))})


@app.route("/loop")
async def loop() -> str:
    return type(asyncio.get_running_loop()).__module__


@app.route("/backlogs")
def backlogs() -> list[int]:
    """How many connections may queue at each listening TCP socket of this process."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # no socket, or closed since
            continue
        with sock:
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and sock.family == socket.AF_INET:
                # Of a listening socket, tcpi_sacked is the backlog: eight bytes and five words in.
                info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
                found.append(struct.unpack_from("I", info, 28)[0])
    return found


@app.route("/echo", methods=["POST"])
async def echo() -> Response:
    return Response(iter(request.environ["wsgi.input"].read1, b""))


@app.route("/ws")
@websocket
async def ws() -> None:
    async for message in aio.ws:
        await aio.ws.send_str(f"{here()} {message.data}")


# The views below wait for the file that is named by "until", so that a test decides when a
# request ends, also when nothing new is accepted any more.


def is_due() -> bool:
    return Path(request.args["until"]).exists()


def wait_until_due() -> None:
    say("held")
    while not is_due():
        await_(asyncio.sleep(0.01))


@app.route("/hold")
async def hold() -> str:
    wait_until_due()
    return "released"


@app.route("/hold-sync")
def hold_sync() -> str:
    say("held")
    while not is_due():
        time.sleep(0.01)
    return "released"


@app.route("/stream")
async def stream() -> Response:
    @stream_with_context
    def parts() -> Iterator[str]:
        yield "first\n"
        wait_until_due()
        yield "last\n"

    return Response(parts())


@app.route("/block")
async def block() -> str:
    say("blocking")
    time.sleep(float(request.args.get("seconds", 60)))  # the line that the log must name
    return "too late"


@app.route("/exit-sync")
def exit_sync() -> str:
    sys.exit(1)


@app.route("/exit-async")
async def exit_async() -> str:
    sys.exit(1)
