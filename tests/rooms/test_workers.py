"""The workers of a real gunicorn: whatever happens to one, the others miss nothing."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP, SIGKILL, SIGTERM, SIGTTIN, SIGTTOU, SIGUSR2

import pytest
from harness import Gunicorn, eventually, wait_for

from .crowd import crowd

Start = Callable[..., Gunicorn]


@pytest.fixture(name="start")
def _start(gunicorn: Start, runtime: Path) -> Start:
    """Start gunicorn with the application of these tests."""

    def start(*options: str, app: str = "rooms_app:app", workers: int = 2) -> Gunicorn:
        return gunicorn(app, "--workers", str(workers), "--graceful-timeout", "5", *options)

    return start


def sockets(runtime: Path) -> list[str]:
    """Return the workers' sockets that there are."""
    return [path.name for path in runtime.glob("*/*.sock")]


def children_of(pid: int) -> set[int]:
    """Return the processes that *pid* has started."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def read_pid(path: Path) -> int:
    """Return what a master's pid file says; 0 if there is none, or not yet."""
    return int(path.read_text() or 0) if path.exists() else 0


async def test_a_message_reaches_the_members_of_all_workers(start: Start, runtime: Path) -> None:
    """Sent from a plain sync view of one of them."""
    server = start(workers=3)
    pids = set(server.wait_for_workers(3))
    async with crowd(server) as (people, speaker):
        await people.fill(server, speaker, pids)
        await speaker.speak_on()
        await people.check(speaker)

        assert str(len(people.members)) == server.get("/members/a")
        assert len(sockets(runtime)) == 3


async def test_a_reload_loses_nothing(start: Start) -> None:
    """HUP: old and new workers hear each other as long as both are there."""
    server = start(workers=2)
    old = set(server.wait_for_workers(2))
    async with crowd(server) as (people, speaker):
        await people.fill(server, speaker, old)
        await speaker.speak_on()
        server.signal(SIGHUP)
        await eventually(lambda: len(set(server.workers) - old) == 2, "new workers")
        new = set(server.workers) - old
        await people.fill(server, speaker, new)
        await speaker.speak_on()
        await eventually(lambda: not set(server.workers) & old, "the old workers to leave")
        await speaker.speak_on()
        await people.check(speaker)

        assert speaker.workers & old
        assert speaker.workers & new
    assert "Traceback" not in server.log


async def test_a_worker_that_is_killed_takes_nothing_from_the_others(
    start: Start, runtime: Path
) -> None:
    """Members of the others miss nothing that living workers sent; its socket is swept."""
    server = start(workers=3)
    pids = set(server.wait_for_workers(3))
    async with crowd(server) as (people, speaker):
        await people.fill(server, speaker, pids)
        await speaker.speak_on()
        victim = next(pid for pid in pids if pid not in speaker.workers)
        os.kill(victim, SIGKILL)
        await speaker.speak_on()
        await eventually(lambda: len(set(server.workers) - pids) == 1, "a new worker")
        await people.fill(server, speaker, set(server.workers) - pids)
        await speaker.speak_on()
        await people.check(speaker)

        assert {victim} == {member.worker for member in people.members if not member.open}
        await eventually(lambda: len(sockets(runtime)) == 3, "the dead worker's socket to go")
        assert not any(name.startswith(f"{victim}-") for name in sockets(runtime))


async def test_workers_come_and_go_in_the_middle_of_a_stream(start: Start) -> None:
    """TTIN and TTOU."""
    server = start(workers=2)
    pids = set(server.wait_for_workers(2))
    async with crowd(server) as (people, speaker):
        await people.fill(server, speaker, pids)
        server.signal(SIGTTIN)
        await eventually(lambda: len(server.workers) == 3, "a third worker")
        await people.fill(server, speaker, set(server.workers))
        await speaker.speak_on()
        server.signal(SIGTTOU)
        await eventually(lambda: len(server.workers) == 2, "one to leave")
        await speaker.speak_on()
        await people.check(speaker)


async def test_a_new_master_hears_the_old_one(start: Start, runtime: Path, tmp_path: Path) -> None:
    """USR2: the new master's workers have the same rooms, until the old one is told to go."""
    server = start("--pid", str(tmp_path / "pid"), workers=1)
    old = set(server.wait_for_workers(1))
    async with crowd(server) as (people, speaker):
        await people.fill(server, speaker, old)
        server.signal(SIGUSR2)
        master = await eventually(lambda: read_pid(tmp_path / "pid.2"), "the new master")
        try:
            new = await eventually(lambda: children_of(master), "its worker")
            await people.fill(server, speaker, new)
            await speaker.speak_on()
            await people.check(speaker)
            assert 1 == len(os.listdir(runtime))
        finally:
            os.kill(master, SIGTERM)
            await eventually(lambda: not read_pid(tmp_path / "pid.2"), "the new master to go")


async def test_two_servers_of_one_application_never_hear_each_other(
    start: Start, runtime: Path
) -> None:
    """Nor do those of different ones: the workers of each master are among themselves."""
    first, second = start(workers=1), start(workers=1)
    async with crowd(first) as (people, speaker), crowd(second) as (others, other_speaker):
        await people.fill(first, speaker, set(first.wait_for_workers()))
        await others.fill(second, other_speaker, set(second.wait_for_workers()))
        other_speaker.next = 1_000_000
        await speaker.speak_on()
        await other_speaker.speak_on()

        assert 1_000_000 > max(people.members[0].heard)
        assert 1_000_000 <= others.members[0].heard[-1]
        assert str(len(people.members)) == await asyncio.to_thread(first.get, "/members/a")
        assert str(len(others.members)) == await asyncio.to_thread(second.get, "/members/a")
        assert 2 == len(os.listdir(runtime))


async def test_streams_of_events_hear_other_workers(start: Start) -> None:
    """What a sync view sends, whichever worker runs it."""
    server = start(workers=2)
    pids = set(server.wait_for_workers(2))
    async with crowd(server) as (people, _):
        seen: set[int] = set()
        async with people.session.get(f"{server.url}/listen/news") as stream:
            await stream.content.readuntil(b"listening\n\n")
            sent = 0
            while seen != pids:
                answer = json.loads(await asyncio.to_thread(server.get, f"/send/news/m{sent}"))
                assert answer["sent"]
                seen.add(answer["worker"])
                assert f"data: m{sent}\n\n".encode() == await stream.content.readuntil(b"\n\n")
                sent += 1


def test_an_application_without_rooms_opens_nothing(start: Start, runtime: Path) -> None:
    """No directory and no socket: they are made when rooms are first used."""
    server = start(workers=1)
    server.get("/stats")
    assert [] == list(runtime.iterdir())
    server.get("/send/a/hello")
    assert 1 == len(sockets(runtime))


def test_nothing_is_left_when_the_server_stops(start: Start, runtime: Path) -> None:
    """Neither sockets nor their directory."""
    server = start(workers=2)
    wait_for(lambda: server.get("/send/a/hello") and len(sockets(runtime)) == 2, "both workers")
    server.stop()

    assert [] == list(runtime.iterdir())


def test_what_the_application_starts_does_not_get_the_key(start: Start) -> None:
    """It is in no environment of a worker."""
    assert "FLASK_AIOHTTP_ROOMS_KEY" not in start().get("/environ")
