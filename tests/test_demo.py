"""The demo's page and its four parts work under gunicorn with two workers."""

import asyncio
import contextlib
import html
import importlib.util
import json
import re
import sys
from pathlib import Path

import aiohttp
import pytest
from harness import PATIENCE, serve

DEMO = Path(__file__).parent.parent / "examples" / "demo"


@pytest.fixture(name="demo")
def _demo(gunicorn):
    return gunicorn("app:app", "--chdir", str(DEMO), "--workers", "2")


@pytest.fixture(name="module")
def _module(monkeypatch):
    """The demo as a module of this process, where its members can be seen."""
    spec = importlib.util.spec_from_file_location("demo_of_this_test", DEMO / "app.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@contextlib.asynccontextmanager
async def client(demo):
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    base = f"http://127.0.0.1:{demo.port}"
    async with aiohttp.ClientSession(base, timeout=timeout) as session:
        yield session


@contextlib.asynccontextmanager
async def two_members(demo):
    """The websockets of two members whom different workers serve, with nothing left to read."""
    async with client(demo) as session, contextlib.AsyncExitStack() as stack:

        async def join(number):
            connecting = session.ws_connect(f"/chat?name=Member {number}")
            socket = await stack.enter_async_context(connecting)
            return (await hear(socket))["serving"], socket

        served = []
        while len(members := dict(served)) < 2:
            # Many at once: of those that come one by one, one worker might take each.
            served += await asyncio.gather(*map(join, range(len(served), len(served) + 8)))
        rest = [socket for _, socket in served if socket not in members.values()]
        await asyncio.gather(*(socket.close() for socket in rest))
        for socket in members.values():
            for _ in rest:
                while "left" not in (await hear(socket)).get("note", ""):
                    pass
        yield tuple(members.values())


async def hear(socket):
    return await socket.receive_json(timeout=PATIENCE)


async def hear_said(socket):
    """What somebody says next: the note that another has joined may still be on its way."""
    while "text" not in (event := await hear(socket)):
        pass
    return event


def code_shown(page):
    """The pieces of code on the page."""
    return [
        html.unescape(code)
        for code in re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page, re.S)
    ]


def fields(event):
    """The fields of one server-sent event, in order."""
    return [tuple(line.split(": ", 1)) for line in event.split("\n")]


def test_page_shows_each_of_the_four_views_with_its_own_code(demo):
    """The page has four parts; each shows the lines of app.py that serve it."""
    page = demo.get("/")

    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert ["A sync view", "An async view", "A streamed answer", "A websocket"] == titles
    code = code_shown(page)
    views = ["def sync_view(", "async def parallel(", "async def events(", "async def chat("]
    assert [True] * 4 == [view in shown for view, shown in zip(views, code, strict=True)]
    source = (DEMO / "app.py").read_text()
    functions = [function for shown in code for function in re.split(r"\n\n(?=\S)", shown)]
    assert [] == [function for function in functions if f"\n{function}\n" not in source]


def test_page_names_the_worker_that_made_it(demo):
    """The pid on the page is that of one of the workers."""
    pid = re.search(r"Worker <b>(\d+)</b>", demo.get("/"))

    assert pid is not None
    assert int(pid[1]) in demo.workers


def test_page_needs_nothing_from_elsewhere(demo):
    """Page, style sheet and script name no other site, and are all served."""
    page = demo.get("/")
    parts = [path for path in re.findall(r'(?:src|href)="([^"]*)"', page) if path != "data:,"]

    assert ["/static/demo.css", "/static/demo.js"] == parts
    texts = [re.sub(r"<code>.*?</code>", "", page, flags=re.S), *map(demo.get, parts)]
    assert [] == [url for text in texts for url in re.findall(r"(?:\w+:)?//\w\S*|url\(", text)]


def test_script_never_makes_markup_of_what_users_send(demo):
    """The script puts text on the page as text."""
    script = demo.get("/static/demo.js")

    assert [] == re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", script)


def test_sync_view_runs_in_a_thread_of_a_worker(demo):
    """The sync view is not run by the thread of the event loop."""
    answer = json.loads(demo.get("/sync"))

    assert answer["thread"] != "MainThread"
    assert answer["worker"] in demo.workers


def test_ten_waiting_calls_take_no_longer_than_a_few(demo):
    """Ten calls of a view that takes a second run side by side."""
    answer = json.loads(demo.get("/parallel"))

    assert 10 == len(answer["calls"])
    assert {"MainThread"} == {call["thread"] for call in answer["calls"]}
    assert {call["worker"] for call in answer["calls"]} <= set(demo.workers)
    # One after the other they would take two workers five seconds at least.
    assert answer["seconds"] < 5


def test_ten_calls_go_to_the_server_itself_whatever_the_host_header_says(demo):
    """The demo cannot be made to call another server."""
    status, _, text = demo.request("/parallel", headers={"Host": "192.0.2.1:9"})

    assert 200 == status
    assert 10 == len(json.loads(text)["calls"])


async def test_events_arrive_one_by_one(demo):
    """The first event is here while the last is not; together they are a stream of events."""
    async with client(demo) as session, session.get("/events") as response:
        first = await response.content.readuntil(b"\n\n")
        # The server has time to send more than it should.
        async with session.get("/sync") as other:
            await other.read()
        early = response.content.read_nowait()
        stream = (first + early + await response.content.read()).decode()

    assert "text/event-stream; charset=utf-8" == response.headers["Content-Type"]
    assert "no-cache" == response.headers["Cache-Control"]
    assert "no" == response.headers["X-Accel-Buffering"]
    assert b"done" not in early
    assert stream.endswith("\n\n")
    *counted, done = map(fields, stream.removesuffix("\n\n").split("\n\n"))
    assert [("id", str(number)) for number in range(1, 11)] == [event[0] for event in counted]
    assert {"data"} == {name for event in counted for name, _ in event[1:]}
    assert json.loads(counted[0][1][1])["worker"] in demo.workers
    assert [("event", "done"), ("data", "counted to ten")] == done


def test_stream_that_was_lost_goes_on_after_the_last_event(demo):
    """A browser that comes back gets only the events that it has not had."""
    _, _, text = demo.request("/events", headers={"Last-Event-ID": "9"})

    assert ["10"] == re.findall(r"^id: (.*)$", text, re.MULTILINE)


async def test_members_hear_each_other_whichever_worker_serves_them(demo):
    """What one member says reaches both, as it was sent, with the name of who said it."""
    async with two_members(demo) as (first, second):
        await second.send_str("<b>hello</b>")
        heard = [await hear_said(first), await hear_said(second)]
        await first.send_str("hello yourself")
        answers = [await hear_said(first), await hear_said(second)]
        await second.close()
        left = await hear(first)

    assert heard[0] == heard[1]
    assert answers[0] == answers[1]
    assert {heard[0]["worker"], answers[0]["worker"]} == set(demo.workers)
    assert ("<b>hello</b>", 2) == (heard[0]["text"], heard[0]["members"])
    assert "hello yourself" == answers[0]["text"]
    assert heard[0]["name"] != answers[0]["name"]
    assert f"{heard[0]['name']} left" == left["note"]
    assert 1 == left["members"]


async def test_message_that_is_too_long_ends_the_membership(demo):
    """A message of 501 characters is told to nobody, and closes its sender's websocket."""
    async with two_members(demo) as (first, second):
        await second.send_str("x" * 500)
        heard = [await hear_said(first), await hear_said(second)]
        await second.send_str("x" * 501)
        closed = await second.receive(timeout=PATIENCE)
        left = await hear(first)

    assert ["x" * 500] * 2 == [event["text"] for event in heard]
    assert aiohttp.WSMsgType.CLOSE == closed.type
    assert aiohttp.WSCloseCode.POLICY_VIOLATION == closed.data
    assert "only text of at most 500 characters" == closed.extra
    assert f"{heard[0]['name']} left" == left["note"]


async def test_long_name_is_cut_and_an_empty_one_replaced(demo):
    """A member's name has at most twenty characters, and at least one."""
    notes = []
    async with client(demo) as session:
        for name in ("x" * 21, " "):
            async with session.ws_connect("/chat", params={"name": name}) as socket:
                assert (await hear(socket))["serving"] in demo.workers
                # The one before may not have left yet.
                while not (note := (await hear(socket))["note"]).endswith(" joined"):
                    pass
                notes.append(note)

    assert ["x" * 20 + " joined", "Somebody joined"] == notes


async def test_full_chat_refuses_the_next_member(module):
    """Beside a hundred members there is no room for one more."""
    async with serve(module.app) as served, contextlib.AsyncExitStack() as stack:
        for _ in range(100):
            await stack.enter_async_context(module.aio.rooms.listen("chat"))
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await served.session.ws_connect("/chat")

    assert 503 == refused.value.status


def test_chat_without_a_websocket_is_a_bad_request(demo):
    """A plain request to the chat is refused."""
    status, _, _ = demo.request("/chat")

    assert 400 == status
