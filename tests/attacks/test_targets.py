"""Targets that no browser sends (RFC 9112, section 3.2): no failure, and no way elsewhere."""

from __future__ import annotations

import pytest

from .target import CANARY, lines, statuses, target

KINDS = ["thread", "loop", "native"]

MALFORMED = [
    *("*", "example.org:80", "relative", "?x", "/a b", "/\x00", "/\x7f", "/\x1b[31m", "/\t"),
    *("/\xff", "/#fragment", "/a?b#c", "", "http//example.org/", "//\r/"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", MALFORMED)
async def test_a_malformed_target_is_refused(path: str, kind: str) -> None:
    """With 400, and nothing behind it is served."""
    async with target(kind) as attacked:
        answer = await attacked.answer(lines("Host: x", first=f"GET {path} HTTP/1.1") + CANARY)

    assert ["400"] == statuses(answer)
    assert [] == attacked.seen


STRANGE = [
    *("//evil.example/..", "///", "/..", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd"),
    *("/%c0%ae%c0%ae/", "/%00", "/%ff", "/%zz", "/%", "/a%2fb", "/\\evil.example", "/;a=b"),
    *("/%0d%0aSet-Cookie:%20a=b", "/%1b[31m", "http://example.org", "https://evil.example/a"),
    *("http://user:password@evil.example:99999/", "ftp://x/", "http://[::1", "/?" + "&" * 2000),
]


@pytest.mark.parametrize("kind", ["thread", "loop"])
@pytest.mark.parametrize("path", STRANGE)
async def test_a_strange_target_is_only_a_path(path: str, kind: str) -> None:
    """It is served or not found; it breaks nothing, and redirects to nobody else."""
    async with target(kind) as attacked:
        request = lines("Host: x", "Connection: close", first=f"GET {path} HTTP/1.1")
        answer = await attacked.answer(request)

    assert statuses(answer)[0] in ("200", "301", "308", "400", "404")
    head = answer.partition(b"\r\n\r\n")[0]
    assert b"Set-Cookie" not in head
    assert b"evil.example" not in head


@pytest.mark.parametrize("kind", ["thread", "loop"])
@pytest.mark.parametrize("script_name", ["", "/shop"])
async def test_options_asterisk_is_answered_by_the_server(kind: str, script_name: str) -> None:
    """It asks for what the server can do at all (RFC 9110, section 9.3.7)."""
    async with target(kind, script_name=script_name) as attacked:
        request = lines("Host: x", first="OPTIONS * HTTP/1.1")
        answer = await attacked.answer(request, request, close=True)

    assert ["200", "200"] == statuses(answer)
    assert 2 == answer.count(b"\r\nAllow: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n")
    assert [] == attacked.seen
