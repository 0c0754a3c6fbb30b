"""What gunicorn may be told to load: everything that works, and what people write by mistake."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import web
from flask import Flask

from flask_aiohttp import AioHTTP


def place() -> str:
    return "loop" if threading.current_thread() is threading.main_thread() else "thread"


def make_flask() -> Flask:
    app = Flask(__name__)

    @app.route("/sync")
    def sync_view() -> str:
        return f"flask {place()}"

    @app.route("/async")
    async def async_view() -> str:
        return f"flask {place()}"

    return app


class Middleware:
    """Plain WSGI middleware, written without a thought for this worker."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, ("X-Middleware", "seen")], *rest)

        return self.application(environ, start)


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"wsgi {place()}".encode()]


def make_aiohttp() -> web.Application:
    async def view(_: web.Request) -> web.Response:
        return web.Response(text=f"aiohttp {place()}")

    app = web.Application()
    app.router.add_get("/async", view)
    app.router.add_get("/sync", view)
    return app


uninitialized = make_flask()

initialized = make_flask()
aio = AioHTTP(initialized)
aiohttp_of_flask = initialized.aiohttp_app

# Two ways to wrap: Flask's own, and around the object.
wrapped_inside = make_flask()
wrapped_inside.wsgi_app = Middleware(wrapped_inside.wsgi_app)
wrapped_outside = Middleware(make_flask())

native = make_aiohttp()


def create_app(name: str = "default") -> Flask:
    app = make_flask()

    @app.route("/name")
    def show_name() -> str:
        return name

    return app


async def create_aiohttp_app() -> web.Application:
    return make_aiohttp()


# Mistakes.
not_callable = 42


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    raise NotImplementedError


class ASGI:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        raise NotImplementedError


asgi_object = ASGI()


async def create_nothing() -> None:
    pass
