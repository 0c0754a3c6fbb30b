"""How a setting's value is read, wherever it is given: in a configuration or to a decorator."""

from __future__ import annotations

import re
from typing import Any

from .exceptions import InvalidSetting

__all__ = (
    "boolean",
    "count",
    "origins",
    "redis_url",
    "seconds",
    "seconds_or_none",
    "size",
    "subprotocols",
    "text",
    "without_password",
)

# RFC 6455, section 4.1: a subprotocol is a token of RFC 9110, section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def count(name: str, value: Any) -> int:
    """Return a whole number of at least 1."""
    number = _whole(value)
    if number is None or number < 1:
        raise InvalidSetting(name, value, "a whole number, at least 1")
    return number


def size(name: str, value: Any) -> int:
    """Return a number of bytes; 0 is no limit."""
    number = _whole(value)
    if number is None or number < 0:
        raise InvalidSetting(name, value, "a number of bytes, or 0 for no limit")
    return number


def seconds(name: str, value: Any) -> float:
    """Return a number of seconds, more than 0."""
    number = _number(value)
    if number is None or not 0 < number < float("inf"):
        raise InvalidSetting(name, value, "a number of seconds, more than 0")
    return number


def seconds_or_none(name: str, value: Any) -> float:
    """Return a number of seconds; 0 stands for None, which is never."""
    number = 0.0 if value is None else _number(value)
    if number is None or not 0 <= number < float("inf"):
        raise InvalidSetting(name, value, "a number of seconds, or None for never")
    return number


def boolean(name: str, value: object) -> bool:
    """Return True or False, as given."""
    if not isinstance(value, bool):
        raise InvalidSetting(name, value, "True or False")
    return value


def origins(name: str, value: object) -> tuple[str, ...]:
    """Return origins (RFC 6454) in lower case; ``"*"`` is every one."""
    given = (value,) if isinstance(value, str) else value
    if not isinstance(given, (list, tuple, set, frozenset)) or not all(
        isinstance(origin, str) and (origin == "*" or "://" in origin) for origin in given
    ):
        raise InvalidSetting(name, value, "origins like 'https://example.org', or '*'")
    return tuple(origin.lower().rstrip("/") for origin in given)


def subprotocols(name: str, value: object) -> tuple[str, ...]:
    """Return names of subprotocols, the preferred one first."""
    given = (value,) if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)) or not all(
        isinstance(protocol, str) and _TOKEN.fullmatch(protocol) for protocol in given
    ):
        raise InvalidSetting(name, value, "names of subprotocols like ['chat.v2', 'chat.v1']")
    return tuple(given)


def _whole(value: Any) -> int | None:
    # Not of True, nor of 2.5. A string comes from an environment variable.
    try:
        return int(value) if type(value) in (int, str) else None
    except ValueError:
        return None


def _number(value: Any) -> float | None:
    try:
        return float(value) if type(value) in (int, float, str) else None
    except ValueError:
        return None


def redis_url(name: str, value: object) -> str | None:
    """Return the URL of a Redis server, or None for none."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.startswith(("redis://", "rediss://", "unix://")):
        shown = without_password(value) if isinstance(value, str) else value
        raise InvalidSetting(name, shown, "a URL like 'redis://host', 'rediss://...' or 'unix://'")
    return value


def text(name: str, value: object) -> str:
    """Return a str."""
    if not isinstance(value, str):
        raise InvalidSetting(name, value, "a str")
    return value


def without_password(url: str) -> str:
    """Return *url* as it may stand in a log: user, password and parameters may be secret."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***"
    _, at, host = rest.rpartition("@")
    return f"{scheme}://{'***@' if at else ''}{host.partition('?')[0]}"
