"""Beside Flask, ``app.aiohttp_app`` serves whatever aiohttp can."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from flask import Flask, request
from harness import eventually, serve

from flask_aiohttp import AioHTTP, BridgeRequired, await_

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app() -> Flask:
    app = Flask(__name__)
    AioHTTP(app)

    @app.route("/")
    @app.route("/<path:path>", methods=["GET", "POST"])
    def view(path: str = "") -> str:
        return f"flask {request.method} {request.script_root} /{path}"

    return app


async def native(request: web.Request) -> web.Response:
    return web.Response(text=f"aiohttp {request.method} {request.path}")


async def text_of(served, method: str, path: str) -> str:
    async with served.session.request(method, path) as response:
        return await response.text()


async def test_native_route_is_served_beside_flask() -> None:
    """A route of aiohttp goes first, and all other requests reach Flask."""
    app = make_app()
    app.aiohttp_app.router.add_get("/native/{name}", native)
    app.aiohttp_app.router.add_get("/", native)

    async with serve(app) as served:
        answers = [
            await text_of(served, method, path)
            for method, path in [
                ("GET", "/native/a"),
                ("GET", "/"),
                ("GET", "/native"),
                ("POST", "/native/a"),
            ]
        ]

    assert [
        "aiohttp GET /native/a",
        "aiohttp GET /",
        "flask GET  /native",
        "flask POST  /native/a",
    ] == answers


async def test_sub_application_is_served_beside_flask() -> None:
    """A sub-application of aiohttp has its prefix, its 404 included."""
    app = make_app()
    inner = web.Application()
    inner.router.add_get("/native", native)
    app.aiohttp_app.add_subapp("/inner", inner)

    async with serve(app) as served:
        answers = [await text_of(served, "GET", path) for path in ("/inner/native", "/inne")]
        async with served.session.get("/inner/missing") as response:
            missing = response.status

    assert ["aiohttp GET /inner/native", "flask GET  /inne"] == answers
    assert 404 == missing


async def test_flask_may_be_a_sub_application() -> None:
    """Flask serves below a prefix of another aiohttp application, and sees the whole path."""
    app = make_app()
    started: list[str] = []
    aio = AioHTTP(app)
    aio.on_startup(lambda: started.append("startup"))
    aio.on_shutdown(lambda: started.append("shutdown"))
    outer = web.Application()
    outer.add_subapp("/shop", app.aiohttp_app)
    outer.router.add_get("/native", native)

    async with serve(outer) as served:
        answers = [await text_of(served, "GET", path) for path in ("/shop/a", "/native")]

    assert ["flask GET  /shop/a", "aiohttp GET /native"] == answers
    assert ["startup", "shutdown"] == started


async def test_middleware_of_aiohttp_sees_both_and_may_answer() -> None:
    """A middleware of aiohttp runs around Flask's requests and around aiohttp's."""
    app = make_app()
    seen: list[tuple[str, int]] = []

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/refused":
            return web.Response(status=403, text="refused")
        response = await handler(request)
        seen.append((request.path, response.status))
        return response

    app.aiohttp_app.middlewares.append(watch)
    app.aiohttp_app.router.add_get("/native", native)
    async with serve(app) as served:
        answers = [await text_of(served, "GET", path) for path in ("/flask", "/native", "/refused")]

    assert ["flask GET  /flask", "aiohttp GET /native", "refused"] == answers
    assert [("/flask", 200), ("/native", 200)] == seen


async def test_signal_of_aiohttp_is_sent_for_its_own_answers_only() -> None:
    """``on_response_prepare`` is aiohttp's, for answers that aiohttp prepares."""
    app = make_app()

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["X-Prepared"] = "yes"

    app.aiohttp_app.on_response_prepare.append(prepare)
    app.aiohttp_app.router.add_get("/native", native)
    async with serve(app) as served:
        async with served.session.get("/native") as response:
            of_aiohttp = response.headers.get("X-Prepared")
        async with served.session.get("/flask") as response:
            of_flask = response.headers.get("X-Prepared")

    assert ("yes", None) == (of_aiohttp, of_flask)


async def test_cleanup_context_of_aiohttp_surrounds_the_hooks() -> None:
    """What aiohttp's own contexts open is there for the extension's hooks, first and last."""
    app = make_app()
    order: list[str] = []
    aio = AioHTTP(app)
    aio.on_startup(lambda: order.append("on_startup"))
    aio.on_shutdown(lambda: order.append("on_shutdown"))

    async def context(_: web.Application):
        order.append("context begins")
        yield
        order.append("context ends")

    async def shutdown(_: web.Application) -> None:
        order.append("aiohttp's on_shutdown")

    app.aiohttp_app.cleanup_ctx.append(context)
    app.aiohttp_app.on_shutdown.append(shutdown)
    async with serve(app) as served:
        await text_of(served, "GET", "/")

    assert [
        "context begins",
        "on_startup",
        "aiohttp's on_shutdown",
        "on_shutdown",
        "context ends",
    ] == order


async def answer_before_body(port: int, head: str) -> bytes:
    """Return what is answered to a head alone; the body follows after that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"data")
    await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("with_native_route", [False, True])
async def test_body_is_asked_for_by_whoever_reads_it(with_native_route: bool) -> None:
    """``100 Continue`` is sent at the first read of the body, not before the view has run."""
    app = make_app()
    reads = asyncio.Event()

    @app.post("/upload")
    async def upload() -> str:
        if not request.args:
            return "refused unread", 403
        await reads.wait()
        return request.get_data(as_text=True)

    if with_native_route:
        app.aiohttp_app.router.add_post("/native", native)
    async with serve(app) as served:
        head = "Host: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        refused = await answer_before_body(served.port, f"POST /upload HTTP/1.1\r\n{head}")
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(f"POST /upload?read=1 HTTP/1.1\r\n{head}".encode())
        await eventually(lambda: served.server.traffic.in_flight, "the request")
        reads.set()
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"data")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()

    assert refused.startswith(b"HTTP/1.1 403 ")
    assert b"HTTP/1.1 100 Continue\r\n\r\n" == asked
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\ndata")


async def test_native_route_still_asks_for_its_body() -> None:
    """A handler of aiohttp's own gets its body from a client that waits to be asked."""
    app = make_app()

    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app.aiohttp_app.router.add_post("/native", read)
    async with (
        serve(app) as served,
        served.session.post("/native", data=b"data", expect100=True) as response,
    ):
        assert b"data" == await response.read()


async def test_native_handler_may_not_block_the_loop() -> None:
    """A handler of aiohttp's own that calls ``await_()`` is told to write ``await``."""
    app = make_app()
    errors: list[BridgeRequired] = []

    async def blocking(request: web.Request) -> web.Response:
        with pytest.raises(BridgeRequired, match="write 'await") as caught:
            await_(asyncio.sleep(0))
        errors.append(caught.value)
        return web.Response()

    app.aiohttp_app.router.add_get("/native", blocking)
    async with serve(app) as served:
        await text_of(served, "GET", "/native")

    assert 1 == len(errors)


async def test_router_is_asked_only_where_there_is_something_to_ask() -> None:
    """Without routes of aiohttp's own, requests go past its router."""
    plain, mixed = make_app(), make_app()
    mixed.aiohttp_app.router.add_get("/native", native)

    async with serve(plain) as first, serve(mixed) as second:
        assert (True, False) == (first.server._plain, second.server._plain)
        assert "flask GET  /a" == await text_of(first, "GET", "/a")
        assert "flask GET  /a" == await text_of(second, "GET", "/a")
