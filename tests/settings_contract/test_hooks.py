"""``pre_request`` and ``post_request`` see what they see under gthread, in the request's place."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from harness import Gunicorn, eventually, wait_for

WORKERS = ("gthread", "flask_aiohttp_worker.Worker")

# Each hook writes one line: its name, and all that it can read of what it is given.
HOOKS = """
import contextvars
import json
import threading

import flask

seen = contextvars.ContextVar("seen", default="nothing")

def say(name, **facts):
    facts["thread"] = threading.get_ident()
    print(f"HOOK {name} {json.dumps(facts, default=str)}", flush=True)

def pre_request(worker, req):
    seen.set(req.path)
    say("pre", age=worker.age, method=req.method, uri=req.uri, path=req.path, query=req.query,
        fragment=req.fragment, version=req.version, headers=req.headers, trailers=req.trailers,
        scheme=req.scheme, peer=req.peer_addr[0], remote=req.remote_addr[0],
        body=hasattr(req.body, "read"), info=req.proxy_protocol_info, closes=req.should_close())
    req.noted = "by the first"
    if "rewrite" in req.query:
        req.path = "/environ"
        req.method = "GET"
        req.headers = [h for h in req.headers if h[0] != "X-DROPPED"] + [("X-ADDED", "a, b")]
    if "close" in req.query:
        req.force_close()
    if "fail" in req.query:
        raise ValueError("pre_request fails on purpose")

def post_request(worker, req, environ, resp):
    facts = {}
    if resp is not None:
        facts = {
            "status": resp.status,
            "headers": [pair for pair in resp.headers if pair[0] != "Last-Modified"],
            "sent": resp.sent, "headers_sent": resp.headers_sent, "chunked": resp.chunked,
            "length": resp.response_length, "closes": resp.should_close(),
        }
        if resp.status:
            facts["code"] = resp.status_code
    facts |= {"number": worker.nr, "path": environ.get("PATH_INFO")}
    say("post", seen=seen.get(), noted=req.noted, **facts)
    if "grumble" in req.query:
        raise ValueError("post_request fails on purpose")
"""

REQUESTS = (
    "GET /sync?a=%20b",
    "GET /async",
    "GET /stream",
    "GET /async-stream",
    "HEAD /sync",
    "GET /headers",
    "GET /empty",
    "GET /m%C3%A4dchen",
    "GET //sync",
    "GET /fail",
    "GET /fail-later",
    "GET /raises",
    "POST /echo",
    "POST /sync?close",
    "GET /sync?fail",
    "GET /sync?grumble",
)


def start(gunicorn: Callable[..., Gunicorn], tmp_path: Path, worker: str, hooks: str) -> Gunicorn:
    """Start gunicorn with hooks."""
    config = tmp_path / f"{worker}.conf.py"
    config.write_text(hooks)
    options = ("--config", str(config), "--threads", "4")
    return gunicorn("settings_app:failing", *options, worker=worker)


def said(server: Gunicorn, name: str) -> list[dict[str, Any]]:
    """What the hook *name* has written."""
    return [json.loads(line) for line in re.findall(rf"^HOOK {name} (.*)\n", server.log, re.M)]


def send(server: Gunicorn, request: str) -> dict[str, Any]:
    """Send one request; return what the hooks have said of it, without what must differ."""
    method, path = request.split()
    before = len(said(server, "post"))
    body = b"body" if method == "POST" else None
    with contextlib.suppress(http.client.IncompleteRead):  # of an answer that fails later
        server.request(path, method, body, headers={"Connection": "close", "X-Case": "Kept"})
    wait_for(lambda: len(said(server, "post")) > before, "the second hook")
    facts = {name: said(server, name)[before] for name in ("pre", "post")}
    for each in facts.values():
        each.pop("thread")
        headers = each.get("headers", ())
        each["headers"] = [pair for pair in headers if pair[0] not in ("HOST", "ETag")]
    return facts


@pytest.fixture(name="both", scope="module")
def _both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """By worker: what the hooks have said of each request."""
    facts = []
    for worker in WORKERS:
        directory = tmp_path_factory.mktemp("hooks")
        config = directory / "hooks.py"
        config.write_text(HOOKS)
        options = ("settings_app:failing", "--config", str(config), "--threads", "4")
        server = Gunicorn(*options, directory=directory, worker=worker)
        try:
            server.wait_until_listening()
            facts.append({request: send(server, request) for request in REQUESTS})
        finally:
            server.kill()
    return facts


@pytest.mark.parametrize("request_line", REQUESTS)
def test_the_hooks_see_what_they_see_under_gthread(
    both: list[dict[str, Any]], request_line: str
) -> None:
    """Request, answer and environ have the same attributes, with the same values."""
    theirs, ours = (facts[request_line] for facts in both)

    assert theirs == ours


@pytest.mark.parametrize("worker", WORKERS)
def test_the_hooks_run_in_the_request_s_own_thread(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path, worker: str
) -> None:
    """What instruments a thread finds the view in it."""
    server = start(gunicorn, tmp_path, worker, HOOKS)

    thread = int(server.get("/where").split()[0])
    wait_for(lambda: said(server, "post"), "the second hook")

    assert [thread, thread] == [said(server, name)[0]["thread"] for name in ("pre", "post")]


def test_the_hooks_of_an_async_view_run_on_the_loop(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    """There they share the view's context, and must not block."""
    server = start(gunicorn, tmp_path, WORKERS[1], HOOKS)

    main = int(server.get("/where-async").split()[0])
    wait_for(lambda: said(server, "post"), "the second hook")

    assert [main, main] == [said(server, name)[0]["thread"] for name in ("pre", "post")]
    assert "/where-async" == said(server, "post")[0]["seen"]


@pytest.mark.parametrize("worker", WORKERS)
def test_what_a_hook_changes_reaches_the_application(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path, worker: str
) -> None:
    """A request id that pre_request adds is read by the view; a path may be rewritten."""
    server = start(gunicorn, tmp_path, worker, HOOKS)

    headers = {"X-Dropped": "1", "X-Kept": "2", "Content-Type": "a/b"}
    environ = json.loads(server.request("/elsewhere?rewrite", "POST", headers=headers)[2])

    assert "a, b" == environ["HTTP_X_ADDED"]
    assert "2" == environ["HTTP_X_KEPT"]
    assert "a/b" == environ["CONTENT_TYPE"]
    assert "HTTP_X_DROPPED" not in environ
    assert ("GET", "/environ") == (environ["REQUEST_METHOD"], environ["PATH_INFO"])


@pytest.mark.parametrize("worker", WORKERS)
def test_a_hook_may_end_the_connection(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path, worker: str
) -> None:
    """``force_close()`` is announced in the answer."""
    server = start(gunicorn, tmp_path, worker, HOOKS)

    kept = server.request("/sync")[1].get("connection", "keep-alive")
    closed = server.request("/sync?close")[1]["connection"]

    assert ("keep-alive", "close") == (kept, closed)


@pytest.mark.parametrize("worker", WORKERS)
def test_hooks_that_fail_are_logged(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path, worker: str
) -> None:
    """The first one's failure is the request's, the second one's is nobody's."""
    server = start(gunicorn, tmp_path, worker, HOOKS)

    first = server.request("/sync?fail")[0]
    second = server.request("/sync?grumble")
    server.wait_for_log("post_request fails on purpose")

    assert (500, 200, "sync") == (first, second[0], second[2])
    assert "Error handling request GET /sync?fail" in server.log
    assert "ValueError: pre_request fails on purpose" in server.log
    assert "[ERROR] Exception in post_request hook\nTraceback" in server.log


async def test_the_hooks_are_called_around_a_websocket(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    """Once, the second one when the socket's view has ended."""
    server = start(gunicorn, tmp_path, WORKERS[1], HOOKS)

    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as ws:
        await ws.send_str("hello")
        await ws.receive_str()
        early = said(server, "post")
    await eventually(lambda: said(server, "post"), "the hook")

    assert [] == early
    [pre], [post] = said(server, "pre"), said(server, "post")
    assert ("GET", "/ws") == (pre["method"], pre["path"])
    assert ("101 Switching Protocols", 101, "/ws") == (post["status"], post["code"], post["path"])


@pytest.mark.parametrize("worker", WORKERS)
def test_a_post_request_may_take_less(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path, worker: str
) -> None:
    """gunicorn allows two, three or four arguments."""
    hook = "def post_request(worker, req):\n    print('HOOK post', req.path, flush=True)\n"
    server = start(gunicorn, tmp_path, worker, hook)

    server.get("/sync")

    server.wait_for_log("HOOK post /sync")


@pytest.mark.parametrize("worker", WORKERS)
def test_at_the_level_debug_the_default_hook_names_each_request(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path, worker: str
) -> None:
    """gunicorn's own pre_request does so."""
    server = start(gunicorn, tmp_path, worker, "loglevel = 'debug'")

    server.get("/sync?a=b")

    server.wait_for_log("[DEBUG] GET /sync\n")
