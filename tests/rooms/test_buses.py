"""Which bus there is follows from the settings; what cannot be used stops the server."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from flask import Flask
from harness import serve

from flask_aiohttp import AioHTTP, InvalidSetting
from flask_aiohttp._settings import ServerSettings, with_config
from flask_aiohttp._values import without_password
from flask_aiohttp.rooms import make_hub
from flask_aiohttp.rooms._bus import NoBus
from flask_aiohttp.rooms._mesh import Mesh
from flask_aiohttp.rooms._redis import RedisBus


@pytest.mark.parametrize(
    ("settings", "bus"),
    [
        (ServerSettings(), NoBus),
        (ServerSettings(rooms_key="key"), Mesh),
        (ServerSettings(rooms_url="redis://h"), RedisBus),
        (ServerSettings(rooms_key="key", rooms_url="rediss://h"), RedisBus),
        (ServerSettings(rooms_url="unix:///run/redis.sock"), RedisBus),
    ],
)
async def test_the_settings_choose_the_bus(settings: ServerSettings, bus: type) -> None:
    """Redis, where there is a URL; nothing is opened yet."""
    hub = make_hub("app", settings, asyncio.get_running_loop())

    assert bus is type(hub._bus)
    await hub.stop()


@pytest.mark.parametrize(
    ("prefix", "channel"),
    [(None, b"flask-aiohttp:shop:room:a"), ("mine/", b"mine/room:a"), ("", b"room:a")],
)
async def test_the_channels_have_a_prefix(prefix: str | None, channel: bytes) -> None:
    """By default one for each application: a Redis may serve several."""
    settings = ServerSettings(rooms_url="redis://h", rooms_prefix=prefix)
    hub: Any = make_hub("shop", settings, asyncio.get_running_loop())

    assert channel == hub._bus._channel("a")


@pytest.mark.parametrize("url", ["http://user:secret@h", "localhost", "", 7, "redis"])
def test_a_url_of_something_else_is_refused(url: object) -> None:
    """The sentence names the setting, and shows no password."""
    with pytest.raises(InvalidSetting, match="AIOHTTP_ROOMS_URL is") as error:
        with_config(ServerSettings(), {"AIOHTTP_ROOMS_URL": url})
    assert "secret" not in str(error.value)


async def test_a_url_that_redis_cannot_read_stops_the_server() -> None:
    """At its start, not when somebody joins."""
    app = Flask("bad_url")
    app.config["AIOHTTP_ROOMS_URL"] = "redis://:secret@h?db=x"
    AioHTTP(app)

    with pytest.raises(InvalidSetting, match="what redis can read") as error:
        async with serve(app):
            pass
    assert "secret" not in str(error.value)


async def test_a_missing_package_stops_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a sentence that says what to install."""
    monkeypatch.setitem(sys.modules, "flask_aiohttp.rooms._redis", None)
    app = Flask("no_redis")
    app.config["AIOHTTP_ROOMS_URL"] = "redis://h"
    AioHTTP(app)

    with pytest.raises(InvalidSetting, match=r"pip install 'flask-aiohttp-worker\[redis\]'"):
        async with serve(app):
            pass


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://user:p@ss/w@h", "redis://***@h"),
        ("rediss://:secret@h/0?password=secret", "rediss://***@h/0"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("secret", "***"),
    ],
)
def test_a_log_shows_no_password(url: str, shown: str) -> None:
    """Nor a user, nor parameters: they may have one."""
    assert shown == without_password(url)


def test_a_url_may_be_absent() -> None:
    """``os.environ.get("REDIS_URL")`` may be None."""
    assert with_config(ServerSettings(), {"AIOHTTP_ROOMS_URL": None}).rooms_url is None
