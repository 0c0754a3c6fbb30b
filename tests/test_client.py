"""What the leaving of a client does to its request."""

from __future__ import annotations

import asyncio

import pytest

from flask_aiohttp._client import Client
from flask_aiohttp._traffic import Traffic


def a_task() -> asyncio.Task[bool]:
    """Return a task that serves a request, for as long as it is let."""
    return asyncio.create_task(asyncio.Event().wait())


async def ends(task: asyncio.Task[bool]) -> bool:
    """Wait until *task* has been cancelled."""
    await asyncio.wait({task}, timeout=20)
    return task.cancelled()


async def test_a_body_that_is_being_sent_ends_with_its_client() -> None:
    """Nobody asked for that, and the grace is for views that have not answered."""
    task = a_task()
    client = Client(task, Traffic(), grace=1000.0)

    client.leave(streaming=True)

    assert client.left
    assert await ends(task)


async def test_a_view_goes_on_unless_it_asked_not_to() -> None:
    """It may ask at any time until the client leaves."""
    tasks = a_task(), a_task()
    goes_on, asked = (Client(task, Traffic()) for task in tasks)
    asked.cancel_on_disconnect = True

    goes_on.leave(streaming=False)
    asked.leave(streaming=False)

    assert await ends(tasks[1])
    assert not tasks[0].done()
    assert goes_on.left
    tasks[0].cancel()


async def test_a_request_that_ends_within_the_grace_is_not_cancelled() -> None:
    """Its task serves the connection's next request, or somebody else's."""
    task = a_task()
    client = Client(task, Traffic(), cancel_on_disconnect=True, grace=0.0)

    client.leave(streaming=False)
    client.release()
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, later.set)
    await later.wait()
    client.leave(streaming=True)
    await asyncio.sleep(0)

    assert not task.done()
    task.cancel()


@pytest.mark.parametrize(
    ("streaming", "cancel_on_disconnect", "may_read"),
    [(False, False, True), (True, False, False), (False, True, False)],
)
async def test_a_client_that_sends_no_more_may_still_read(
    streaming: bool, cancel_on_disconnect: bool, may_read: bool
) -> None:
    """Unless it counts as gone: where bytes would be wasted, or where the view wants to know."""
    client = Client(None, Traffic(), cancel_on_disconnect)

    assert may_read is client.half_close(streaming=streaming)
    assert client.left
