"""A worker holds no more after many requests of all kinds than before them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Gunicorn
from soak import MIX, Load, grown, soak

HELD = {"resident KiB": 50_000, "tasks": 5, "files": 20, "contexts": 20}


@pytest.mark.load
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
async def test_many_requests_leave_nothing_behind(
    gunicorn: Callable[..., Gunicorn], loop: str
) -> None:
    """What ``make soak`` does with many more: nothing fails, and nothing grows."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    server = gunicorn("soak_app:app", "--asgi-loop", loop, "--threads", "8")

    assert [] == await soak(server.port, 5000, 16)


async def test_each_kind_of_request_is_answered_as_expected(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """The load consists of what it says, and each failure is counted."""
    server = gunicorn("soak_app:app")
    load = Load(server.port, 1)

    await load.send(len(MIX))
    counts = dict(load.sent)
    server.stop()
    await load.send(3)

    assert {name: [kind for kind, _ in MIX].count(name) for name, _ in MIX} == counts
    assert 3 == len(load.failures)


@pytest.mark.parametrize(
    ("after", "found"),
    [
        ({}, []),
        ({"resident KiB": 50_999, "tasks": 4, "contexts": 120}, []),
        ({"resident KiB": 51_000}, ["the resident memory grew by 2.0%"]),
        ({"contexts": 121}, ["contexts: 20 before, 121 now"]),
        ({"tasks": 6, "files": 21}, ["tasks: 5 before, 6 now", "files: 20 before, 21 now"]),
    ],
)
def test_what_has_grown_is_named(after: dict[str, int], found: list[str]) -> None:
    """Memory may grow by less than 2 %, and the number of anything else not at all."""
    assert found == grown(HELD, {**HELD, **after})
