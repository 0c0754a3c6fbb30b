"""The examples of 2015 run under this worker, ``aiohttp.GunicornWebWorker`` and ``aio.run``."""

from __future__ import annotations

import aiohttp
import pytest

from .conftest import Running

# As they are written today, and as they were written then.
FORMS = ("", "/yield")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "path, text", [("/late", "Sorry, I'm late!"), ("/param?a=Hello&b=World", "Hello World")]
)
async def test_view_that_waits_answers(server: Running, form: str, path: str, text: str) -> None:
    """The late response and the streamed answer arrive."""
    async with aiohttp.ClientSession(server.url) as session, session.get(form + path) as response:
        assert 200 == response.status
        assert text == await response.text()


@pytest.mark.parametrize("form", FORMS)
async def test_calls_of_a_worker_share_one_session(server: Running, form: str) -> None:
    """The external API is called on one kept connection for each worker."""
    callers = set()

    async with aiohttp.ClientSession(server.url) as session:
        for _ in range(10):
            async with session.get(f"{form}/api") as response:
                assert 200 == response.status
                callers.add(await response.text())

    assert 1 <= len(callers) <= server.workers
    assert all(caller.startswith("you call from ") for caller in callers)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "path, sent, received", [("/echo", "hi", "hi"), ("/hello/Ada", "Hello", "Hello, Ada")]
)
async def test_websocket_answers_and_closes(
    server: Running, form: str, path: str, sent: str, received: str
) -> None:
    """The websockets echo and greet, and end with their client."""
    answers = []

    async with (
        aiohttp.ClientSession(server.url) as session,
        session.ws_connect(form + path) as socket,
    ):
        for _ in range(2):
            await socket.send_str(sent)
            answers.append(await socket.receive_str())

    assert [received, received] == answers
    assert aiohttp.WSCloseCode.OK == socket.close_code


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path, status", [("/echo", 400), ("/hello/Ada", 404)])
async def test_websocket_view_answers_a_plain_request_with_its_failure_status(
    server: Running, form: str, path: str, status: int
) -> None:
    """Without a websocket the answer is 400, or what ``failure_status_code`` says."""
    async with aiohttp.ClientSession(server.url) as session, session.get(form + path) as response:
        assert status == response.status


async def test_both_workers_serve(server: Running) -> None:
    """Each worker process answers."""
    pids = set()

    for _ in range(1000):
        async with aiohttp.ClientSession(server.url) as session, session.get("/pid") as response:
            pids.add(await response.text())
        if len(pids) == server.workers:
            break

    assert len(pids) == server.workers


async def test_nothing_is_wrong_in_the_log(server: Running) -> None:
    """No example leaves an error or a warning in the server's log."""
    async with aiohttp.ClientSession(server.url) as session:
        for form in FORMS:
            for path in ("/late", "/api", "/param?a=1&b=2"):
                async with session.get(form + path) as response:
                    await response.read()
            for path in ("/echo", "/hello/Ada"):
                async with session.ws_connect(form + path) as socket:
                    await socket.send_str("hello")
                    await socket.receive_str()

    server.server.wait_for_log("websocket closed", times=2)
    assert "Traceback" not in server.server.log
    assert "Warning" not in server.server.log
    assert "[ERROR]" not in server.server.log
