"""Applications that cannot start, and one that takes its time."""

import time

from flask import Flask

from flask_aiohttp import AioHTTP

failing = Flask("failing")
aio = AioHTTP(failing)


@aio.lifespan
async def pool():
    print("lifespan: begun", flush=True)
    yield
    print("lifespan: ended", flush=True)


@aio.on_startup
async def connect():
    raise ConnectionRefusedError("no database at db.example:5432")


@aio.on_shutdown
def shut_down():
    print("hook: shutdown", flush=True)


badly_set = Flask("badly_set")
badly_set.config["AIOHTTP_THREADS"] = "many"


def slow():
    print("importing", flush=True)
    time.sleep(60)


hanging = Flask("hanging")
hanging_aio = AioHTTP(hanging)


@hanging_aio.on_startup
async def wait_for_ever():
    import asyncio

    print("starting", flush=True)
    await asyncio.sleep(60)


failing_at_the_stop = Flask("failing_at_the_stop")
failing_aio = AioHTTP(failing_at_the_stop)


@failing_aio.on_shutdown
def close_other():
    print("hook: the other one", flush=True)


@failing_aio.on_shutdown
async def close():
    raise RuntimeError("cannot close")


blocking_at_the_start = Flask("blocking_at_the_start")


@AioHTTP(blocking_at_the_start).on_startup
def block_the_start():
    print("blocking the start", flush=True)
    time.sleep(60)
