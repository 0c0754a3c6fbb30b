"""A server is told everything before it starts, in one object that does not change."""

from __future__ import annotations

import dataclasses
import io
import sys
from typing import Any

import pytest

from flask_aiohttp import InvalidSetting
from flask_aiohttp._settings import NoAccessLog, ServerSettings, with_config


def test_settings_cannot_be_changed() -> None:
    """What a server was started with is what it goes on with."""
    settings = ServerSettings()

    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.threads = 3  # type: ignore[misc]


def test_the_defaults_are_those_of_a_server_without_a_configuration() -> None:
    """Ten threads, no foreign origin, and nothing in the access log."""
    settings = ServerSettings()

    assert (10, ()) == (settings.threads, settings.websocket_origins)
    assert isinstance(settings.access_log, NoAccessLog)
    assert "flask_aiohttp.error" == settings.logger.name


def test_errors_go_to_where_stderr_is_when_the_server_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each object looks for itself: stderr may have been replaced since the import."""
    replaced = io.StringIO()
    monkeypatch.setattr(sys, "stderr", replaced)

    assert replaced is ServerSettings().errors


def test_a_flask_configuration_changes_what_it_names_and_nothing_else() -> None:
    """All other settings stay as the server gave them."""
    given = ServerSettings(threads=3, keepalive=7.0, script_name="/shop")

    settings = with_config(given, {"AIOHTTP_THREADS": 5, "SECRET_KEY": "unrelated"})

    assert dataclasses.replace(given, threads=5) == settings
    assert given == with_config(given, {})


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("AIOHTTP_THREADS", 1, "threads", 1),
        ("AIOHTTP_THREADS", 100, "threads", 100),
        ("AIOHTTP_THREADS", "12", "threads", 12),
        ("AIOHTTP_HEAD_TIMEOUT", 1, "head_timeout", 1.0),
        ("AIOHTTP_BODY_TIMEOUT", 1, "body_timeout", 1.0),
        ("AIOHTTP_SEND_TIMEOUT", "2.5", "send_timeout", 2.5),
        ("AIOHTTP_SLOW_LOOP", 0, "slow_loop", 0.0),
        ("AIOHTTP_SLOW_LOOP", "0", "slow_loop", 0.0),
        ("AIOHTTP_SLOW_LOOP", None, "slow_loop", 0.0),
        ("AIOHTTP_SLOW_LOOP", "0.1", "slow_loop", 0.1),
        ("AIOHTTP_SLOW_REQUEST", 5, "slow_request", 5.0),
        ("AIOHTTP_CANCEL_ON_DISCONNECT", True, "cancel_on_disconnect", True),
        ("AIOHTTP_WEBSOCKET_ORIGINS", [], "websocket_origins", ()),
        ("AIOHTTP_WEBSOCKET_ORIGINS", "*", "websocket_origins", ("*",)),
        (
            "AIOHTTP_WEBSOCKET_ORIGINS",
            "https://Example.org/",
            "websocket_origins",
            ("https://example.org",),
        ),
        (
            "AIOHTTP_WEBSOCKET_ORIGINS",
            ("http://a:8000", "https://b"),
            "websocket_origins",
            ("http://a:8000", "https://b"),
        ),
    ],
)
def test_a_value_is_taken_in_the_forms_that_people_write(
    name: str, value: object, field: str, expected: object
) -> None:
    """Numbers may be strings, as environment variables are; one origin needs no list."""
    settings = with_config(ServerSettings(), {name: value})

    assert expected == getattr(settings, field)
    assert type(expected) is type(getattr(settings, field))


WHOLE_NUMBER = "a whole number, at least 1"
SECONDS = "a number of seconds, more than 0"
OR_NEVER = "a number of seconds, or None for never"
ORIGINS = "origins like 'https://example.org', or '*'"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *(("AIOHTTP_THREADS", value, WHOLE_NUMBER) for value in (0, -1, "0", "many", "", "2.5")),
        *(("AIOHTTP_THREADS", value, WHOLE_NUMBER) for value in (2.5, float("inf"), True, None)),
        *(("AIOHTTP_HEAD_TIMEOUT", value, SECONDS) for value in (0, None)),
        *(("AIOHTTP_BODY_TIMEOUT", value, SECONDS) for value in (0, -1, True, None, "soon", "")),
        *(("AIOHTTP_SEND_TIMEOUT", value, SECONDS) for value in (float("nan"), float("inf"))),
        *(("AIOHTTP_SLOW_LOOP", value, OR_NEVER) for value in (-1, True, False, "soon", "")),
        *(("AIOHTTP_SLOW_REQUEST", value, OR_NEVER) for value in (float("nan"), float("inf"))),
        *(("AIOHTTP_CANCEL_ON_DISCONNECT", value, "True or False") for value in ("yes", 1, None)),
        *(("AIOHTTP_WEBSOCKET_ORIGINS", value, ORIGINS) for value in ("", "example.org", None)),
        *(("AIOHTTP_WEBSOCKET_ORIGINS", value, ORIGINS) for value in (1, ["*", 1], [b"http://a"])),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(name: str, value: Any, expected: str) -> None:
    """The error names the setting, the value, and what would be accepted."""
    with pytest.raises(InvalidSetting) as caught:
        with_config(ServerSettings(), {name: value})

    assert f"{name} is {value!r}, but must be {expected}" == str(caught.value)
