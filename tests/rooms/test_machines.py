"""Two gunicorns that share a Redis, as on two machines, and processes that are no workers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP

import pytest
from harness import APPS, Gunicorn, eventually

from .crowd import crowd
from .redis_server import RedisServer

Start = Callable[..., Gunicorn]


@pytest.fixture(name="start")
def _start(gunicorn: Start, redis: RedisServer) -> Start:
    """Start gunicorn with the application of these tests and a Redis."""

    def start(workers: int = 2, url: str = redis.url) -> Gunicorn:
        options = ("--workers", str(workers), "--graceful-timeout", "5")
        return gunicorn("rooms_app:app", *options, env={"TEST_AIOHTTP_ROOMS_URL": url})

    return start


async def test_a_message_reaches_the_members_of_both_servers(start: Start) -> None:
    """Each once, in order; a reload of one of them in the middle loses nothing."""
    first, second = start(), start()
    here, there = set(first.wait_for_workers(2)), set(second.wait_for_workers(2))
    async with crowd(first) as (people, speaker):
        await people.fill(first, speaker, here)
        await people.fill(second, speaker, there)
        await speaker.speak_on()
        assert str(len(people.members)) == second.get("/members/a")
        second.signal(SIGHUP)
        await eventually(lambda: len(set(second.workers) - there) == 2, "new workers")
        await people.fill(second, speaker, set(second.workers) - there)
        await speaker.speak_on()
        await people.check(speaker)


async def test_a_redis_that_is_restarted_is_found_again(start: Start, redis: RedisServer) -> None:
    """Members miss only what its senders were told of; logged once each way in each worker."""
    first, second = start(), start()
    here, there = set(first.wait_for_workers(2)), set(second.wait_for_workers(2))
    async with crowd(first) as (people, speaker):
        await people.fill(first, speaker, here)
        await people.fill(second, speaker, there)
        await speaker.speak_on()
        gone = speaker.next
        redis.stop()
        await eventually(lambda: len(speaker.partly) > 20, "senders to be told")
        redis.start()
        for server in (first, second):
            await eventually(lambda s=server: s.log.count("Redis is back") == 2, "both workers")
        back = speaker.next
        await speaker.speak_on()
        # The last before it was killed it may have taken and not passed on, and of the first after
        # that it tells those who were back by then.
        await people.check(speaker, forgiven=range(gone - 1, back))

        local = [m for m in people.members if m.worker in speaker.workers]
        assert all(set(speaker.partly) <= set(member.heard) for member in local)
    for server in (first, second):
        assert 2 == server.log.count("Redis is away") == server.log.count("Redis is back")
        assert "Traceback" not in server.log


SCRIPT = """
import asyncio, sys
from rooms_app import aio, app
from flask_aiohttp import await_

with app.app_context():
    print(await_(aio.rooms.send("a", 1_000_000)))
print(asyncio.run(aio.rooms.send("a", 1_000_001)))
"""


def script(url: str | None, code: str = SCRIPT) -> subprocess.CompletedProcess[str]:
    """Run a program that is no worker."""
    env = {"PYTHONPATH": str(APPS), "PYTHONWARNINGS": "always"}
    if url is not None:
        env["TEST_AIOHTTP_ROOMS_URL"] = url
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=50)


async def test_a_script_reaches_the_members(start: Start, redis: RedisServer) -> None:
    """With ``await_()`` and in a loop of its own; it ends by itself and says nothing."""
    server = start(workers=1)
    async with crowd(server) as (people, speaker):
        await people.fill(server, speaker, set(server.wait_for_workers()))
        ended = await eventually(lambda: script(redis.url), "the script")
        await eventually(lambda: 1_000_001 in people.members[0].heard, "its second message")

        assert 1_000_000 in people.members[0].heard
        assert ("True\nTrue\n", "", 0) == (ended.stdout, ended.stderr, ended.returncode)


FORKING = """
import os, warnings
from rooms_app import aio
from flask_aiohttp import await_

assert await_(aio.rooms.send("a", "parent"))
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: fork beside threads
child = os.fork()
if not child:
    assert await_(aio.rooms.send("a", "child"))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert await_(aio.rooms.send("a", "parent again"))
"""


def test_a_forked_process_has_a_connection_of_its_own(redis: RedisServer) -> None:
    """As Celery forks its workers."""
    ended = script(redis.url, FORKING)

    assert (0, "") == (ended.returncode, ended.stderr)


def test_a_script_that_reaches_nobody_is_told_so(redis: RedisServer) -> None:
    """With a Redis that is away, and with none at all; no password is shown."""
    redis.stop()
    away = script(f"redis://user:secret@127.0.0.1:{redis.port}/0")
    assert f"redis://***@127.0.0.1:{redis.port}/0 does not answer" in away.stderr
    assert "secret" not in away.stderr
    assert "RoomsUnavailable: this process is no worker" in script(None).stderr


def test_a_password_is_given_in_the_url_and_never_logged(
    require: Callable[[str], str], runtime: Path
) -> None:
    """A wrong one is as if Redis were away."""
    server = RedisServer(require("redis-server"), runtime, "--requirepass", "secret")
    server.start()
    try:
        right = script(f"redis://:secret@127.0.0.1:{server.port}")
        wrong = script(f"redis://:wrong-secret@127.0.0.1:{server.port}")
    finally:
        server.stop()

    assert "True\nTrue\n" == right.stdout
    assert "RoomsUnavailable" in wrong.stderr
    assert "secret" not in wrong.stderr


def test_tls_is_spoken_where_the_url_says_so(require: Callable[[str], str], runtime: Path) -> None:
    """``rediss://``, with the certificate authority as a parameter."""
    key, certificate = runtime / "key.pem", runtime / "cert.pem"
    command = [require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    with_tls = RedisServer(require("redis-server"), runtime)
    port = with_tls.port + 1
    options = ["--tls-port", str(port), "--tls-auth-clients", "no"]
    options += ["--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    with_tls = RedisServer(
        require("redis-server"), runtime, *options, "--tls-ca-cert-file", str(certificate)
    )
    with_tls.start()
    try:
        ended = script(f"rediss://localhost:{port}?ssl_ca_certs={certificate}")
    finally:
        with_tls.stop()

    assert ("True\nTrue\n", "") == (ended.stdout, ended.stderr)
