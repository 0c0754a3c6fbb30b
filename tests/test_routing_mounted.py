"""Applications that middleware mounts below a prefix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, request
from harness import serve
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_aiohttp import AioHTTP
from flask_aiohttp._routing import Place, Router


class Strip:
    """What is commonly written to mount an application below a prefix."""

    def __init__(self, application: Any, prefix: str) -> None:
        self.app, self.prefix = application, prefix

    def __call__(self, environ: Any, start_response: Any) -> Any:
        environ["SCRIPT_NAME"] += self.prefix
        environ["PATH_INFO"] = environ["PATH_INFO"][len(self.prefix) :]
        return self.app(environ, start_response)


@pytest.mark.parametrize(
    "mount",
    [
        lambda inner: Strip(inner, "/api"),
        lambda inner: DispatcherMiddleware(an_outer_application(), {"/api": inner}),
    ],
    ids=["prefix", "dispatcher"],
)
async def test_prefix_that_middleware_strips_is_learnt(mount: Callable[[Flask], Any]) -> None:
    """After the first request below a prefix, async views there run on the loop."""
    inner = Flask("inner")
    AioHTTP(inner)
    in_thread = []

    @inner.get("/where")
    async def where() -> str:
        in_thread.append("flask_aiohttp.learn" in request.environ)
        return "here"

    async with serve(mount(inner)) as served:
        for _ in range(3):
            async with served.session.get("/api/where") as response:
                assert "here" == await response.text()

    assert [True, False, False] == in_thread


def an_outer_application() -> Flask:
    outer = Flask("outer")
    AioHTTP(outer)
    return outer


async def test_host_outside_of_the_domain_is_foretold_without_a_warning() -> None:
    """Werkzeug warns of a Host that is not below SERVER_NAME once, where Flask asks it."""
    app = Flask("domains", subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.org"
    AioHTTP(app)
    environ = {
        "HTTP_HOST": "example.net",
        "PATH_INFO": "/",
        "REQUEST_METHOD": "GET",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
    }

    # Warnings are errors here.
    assert Place.THREAD is Router(app).place(environ, websocket=False)


@pytest.mark.parametrize(
    ("path", "script_name", "path_info", "learnt"),
    [
        ("/api/x", "/api", "/x", {"/api"}),
        ("/api", "/api", "", {"/api"}),
        ("/api/x", "/outer/api", "/x", {"/api"}),
        ("/admin/x", "/admin", "/admin/x", set()),
        ("/x", "/api", "/x", set()),
        ("/x", "", "/x", set()),
        ("/old/x", "", "/new/x", set()),
        ("/old/x", "", "/x", set()),
    ],
)
def test_only_a_prefix_that_was_taken_from_the_path_is_learnt(
    path: str, script_name: str, path_info: str, learnt: set[str]
) -> None:
    """A SCRIPT_NAME that a client has made up, and a rewritten path, teach nothing."""
    app = Flask("learning")
    AioHTTP(app)
    router = Router(app)

    router.learn(path, app, {"SCRIPT_NAME": script_name, "PATH_INFO": path_info})

    assert learnt == set(router._mounted)
