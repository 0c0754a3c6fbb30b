"""A server knows its requests in flight: who drains waits for them, who has had enough is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flask_aiohttp._client import Client
from flask_aiohttp._traffic import Traffic


class Requests:
    """Requests that last until they are told to end."""

    def __init__(self, traffic: Traffic) -> None:
        self.traffic = traffic

    async def begin(self, name: str) -> tuple[asyncio.Task[None], asyncio.Event]:
        """Begin a request; return its task, and what ends it."""
        ending = asyncio.Event()
        task = asyncio.create_task(self._serve(name, ending))
        await asyncio.sleep(0)
        return task, ending

    async def _serve(self, exchange: Any, ending: asyncio.Event) -> None:
        self.traffic.begin(exchange)
        try:
            await ending.wait()
        finally:
            self.traffic.end()


@pytest.fixture(name="traffic")
def _traffic() -> Traffic:
    return Traffic()


async def test_a_request_is_in_flight_from_its_begin_to_its_end(traffic: Traffic) -> None:
    """Each is known by the task that serves it; the total keeps those that have ended."""
    requests = Requests(traffic)

    first, end_first = await requests.begin("first")
    second, end_second = await requests.begin("second")
    both = dict(traffic.in_flight)
    end_first.set()
    await first
    one = dict(traffic.in_flight)
    end_second.set()
    await second

    assert {first: "first", second: "second"} == both
    assert {second: "second"} == one
    assert {} == traffic.in_flight
    assert 2 == traffic.total


async def test_without_requests_nothing_is_waited_for(traffic: Traffic) -> None:
    """A server that has nothing to do is idle at once, before and after requests."""
    await asyncio.wait_for(traffic.idle(), 20)
    task, ending = await Requests(traffic).begin("request")
    ending.set()
    await task

    await asyncio.wait_for(traffic.idle(), 20)


async def test_idle_means_that_the_last_request_has_ended(traffic: Traffic) -> None:
    """Also one that begins while it is waited; however many wait, each learns of it."""
    requests = Requests(traffic)
    first, end_first = await requests.begin("first")
    waiters = [asyncio.create_task(traffic.idle()) for _ in range(2)]
    await asyncio.sleep(0)

    second, end_second = await requests.begin("second")
    end_first.set()
    await first
    await asyncio.sleep(0)
    done_early = [waiter.done() for waiter in waiters]
    end_second.set()
    await second
    await asyncio.wait_for(asyncio.gather(*waiters), 20)

    assert [False, False] == done_early


async def test_a_request_that_follows_at_once_is_waited_for(traffic: Traffic) -> None:
    """The server is not idle if another request begins before the waiter gets its turn."""
    waiter: asyncio.Task[None]
    ending = asyncio.Event()

    async def two_requests_without_a_pause() -> list[bool]:
        exchange: Any = "request"
        traffic.begin(exchange)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        traffic.end()
        traffic.begin(exchange)
        await ending.wait()
        early = [waiter.done()]
        traffic.end()
        return early

    connection = asyncio.create_task(two_requests_without_a_pause())
    await asyncio.sleep(0)
    waiter = asyncio.create_task(traffic.idle())
    for _ in range(10):
        await asyncio.sleep(0)
    ending.set()

    assert [False] == await connection
    await asyncio.wait_for(waiter, 20)


async def test_a_waiter_that_gives_up_disturbs_no_other(traffic: Traffic) -> None:
    """A drain that has run out of time leaves the rest as it was."""
    task, ending = await Requests(traffic).begin("request")
    impatient = asyncio.create_task(traffic.idle())
    patient = asyncio.create_task(traffic.idle())
    await asyncio.sleep(0)

    impatient.cancel()
    await asyncio.wait({impatient})
    ending.set()
    await task

    await asyncio.wait_for(patient, 20)
    assert impatient.cancelled()


async def test_with_the_last_request_allowed_the_server_says_so(traffic: Traffic) -> None:
    """That request's own answer is already the last one on its connection."""
    reached: list[bool] = []
    traffic.limit = 2
    traffic.limit_reached = lambda: reached.append(traffic.closing)
    requests = Requests(traffic)

    first, end_first = await requests.begin("first")
    before = (list(reached), traffic.closing)
    second, end_second = await requests.begin("second")
    after = (list(reached), traffic.closing)
    end_first.set()
    end_second.set()
    await asyncio.gather(first, second)

    assert ([], False) == before
    assert ([True], True) == after


async def test_without_a_limit_it_is_never_reached(traffic: Traffic) -> None:
    """A fresh server serves for ever and closes nothing."""
    traffic.limit_reached = lambda: pytest.fail("there is no limit")
    task, ending = await Requests(traffic).begin("request")
    ending.set()
    await task

    assert not traffic.closing


async def test_endless_streams_are_told_of_the_stop(traffic: Traffic) -> None:
    """Each that asked is told when the server begins to stop; one that is over is not."""
    told: list[str] = []
    traffic.endless.add(lambda: told.append("open"))
    client = Client(None, traffic)
    with client.ends_with_server(lambda: told.append("over")):
        before = client.server_is_closing, list(told)

    traffic.close()
    with client.ends_with_server(lambda: told.append("late")):
        after = client.server_is_closing, list(told)

    assert (False, []) == before
    assert (True, ["open", "late"]) == after


async def test_what_is_in_flight_can_be_cancelled(traffic: Traffic) -> None:
    """The tasks are returned, so that their end can be awaited."""
    requests = Requests(traffic)
    begun = {(await requests.begin(name))[0] for name in ("first", "second")}

    cancelled = traffic.cancel()
    await asyncio.wait(cancelled)

    assert begun == cancelled
    assert all(task.cancelled() for task in cancelled)
    assert {} == traffic.in_flight
    assert set() == traffic.cancel()
