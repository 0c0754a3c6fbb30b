"""What is too much is refused, and the client sees that although it goes on sending."""

from __future__ import annotations

import asyncio
import contextlib
import gzip

import pytest
from harness import PATIENCE, connect, get

from flask_aiohttp import _protocol

from .target import CANARY, lines, statuses, target

KINDS = ["thread", "loop", "native"]
MEBIBYTE = b"x" * (1 << 20)

# A beginning and what it is answered with; a mebibyte follows each.
ENDLESS = {
    "target": ("414", b"GET /"),
    "query": ("414", b"GET /?"),
    "line of nearly the limit": ("414", lines("Host: x", first=f"GET /{'x' * 8178} HTTP/1.1")),
    "value": ("431", b"GET / HTTP/1.1\r\nHost: x\r\nX: "),
    "name": ("431", b"GET / HTTP/1.1\r\nHost: x\r\nX"),
    "long name and long value": ("431", lines("Host: x", f"{'X' * 4000}: {'y' * 5000}")),
    "many fields": ("431", lines("Host: x", *["X: y"] * 500)),
    "expectation": ("417", lines("Host: x", "Expect: cookies", "Content-Length: 9999999")),
    "body": ("400", lines("Host: a b", "Content-Length: 9999999")),
    "chunk": ("400", lines("Host: a b", "Transfer-Encoding: chunked", body=b"fffff\r\n")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ENDLESS)
async def test_who_goes_on_sending_sees_the_answer(name: str, kind: str) -> None:
    """No reset overtakes it: what comes is read away for a while."""
    status, beginning = ENDLESS[name]

    async with target(kind) as attacked:
        answer = await attacked.answer(beginning, *[MEBIBYTE[:50_000]] * 20)

    assert [status] == statuses(answer)
    assert answer.endswith(b"\n")
    assert [] == attacked.seen


@pytest.mark.parametrize(
    ("linger", "surplus"), [(0.05, 1 << 60), (3600.0, 1 << 20)], ids=["time", "bytes"]
)
async def test_who_never_stops_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, linger: float, surplus: int
) -> None:
    """After some seconds, or some mebibytes, whatever comes first."""
    monkeypatch.setattr(_protocol, "_LINGER", linger)
    monkeypatch.setattr(_protocol, "_MAX_SURPLUS", surplus)
    async with target("loop") as attacked:
        reader, writer = await connect(attacked.served, b"GARBAGE\r\n\r\n")

        async def send_for_ever() -> None:
            while True:
                writer.write(MEBIBYTE)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_for_ever(), PATIENCE)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    assert [] == attacked.seen


@pytest.mark.parametrize("kind", KINDS)
async def test_extensions_of_chunks_are_bounded(kind: str) -> None:
    """64 KiB of them end the connection, however they come (RFC 9112, section 7.1.1)."""
    head = lines("Host: x", "Transfer-Encoding: chunked")
    big = b"1;" + b"x" * 65536 + b"\r\nX\r\n0\r\n\r\n"
    small = (b"1;" + b"x" * 1000 + b"\r\nX\r\n") * 64 + b"0\r\n\r\n"
    trailers = b"1\r\nX\r\n0\r\n" + b"X-Trailer: y\r\n" * 5000 + b"\r\n"

    async with target(kind) as attacked:
        for body in (big, small, trailers):
            pieces = [body[i : i + 1000] for i in range(0, len(body), 1000)]
            for sent in ([head + body], [head, body], [head, *pieces]):
                with contextlib.suppress(ConnectionError):
                    answer = statuses(await attacked.answer(*sent, CANARY))
                    assert answer in (["400"], ["431"], [])

    assert [] == attacked.seen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [10, 30_000])
async def test_small_chunks_are_a_body_like_any_other(number: int, kind: str) -> None:
    """Chunks of one byte, on a connection that has carried larger requests before."""
    request = lines("Host: x", "Content-Length: 30000", body=b"x" * 30_000)
    chunks = lines("Host: x", "Transfer-Encoding: chunked", body=b"1\r\nX\r\n" * number)

    async with target(kind) as attacked:
        answer = await attacked.answer(request, request, chunks, b"0\r\n\r\n")

    assert ["200"] * 3 == statuses(answer)
    assert b"X" * number == attacked.seen[-1][2]


@pytest.mark.parametrize("kind", ["thread", "loop"])
async def test_a_large_chunked_body_has_its_extensions(kind: str) -> None:
    """What is allowed grows with the body; reading pauses and goes on meanwhile."""
    piece = b"10000;name=value\r\n" + b"x" * 65536 + b"\r\n"
    head = lines("Host: x", "Transfer-Encoding: chunked")

    async with target(kind) as attacked:
        answer = await attacked.answer(head, *[piece] * 64, b"0\r\n\r\n")

    assert ["200"] == statuses(answer)
    assert 64 * 65536 == len(attacked.seen[0][2])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_compressed_body_is_not_inflated(kind: str) -> None:
    """Ten mebibytes of nothing stay the ten kibibytes that were sent."""
    bomb = gzip.compress(bytes(10 << 20))
    fields = ("Host: x", "Content-Encoding: gzip", f"Content-Length: {len(bomb)}")

    async with target(kind) as attacked:
        answer = await attacked.answer(lines(*fields, "Connection: close", body=bomb))

    assert ["200"] == statuses(answer)
    assert bomb == attacked.seen[0][2]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_pipeline_is_served_in_its_order(kind: str) -> None:
    """A thousand requests at once; what is not served yet waits in the socket."""
    requests = b"".join(get(f"/{number}") for number in range(1000))

    async with target(kind) as attacked:
        answer = await attacked.answer(requests + lines("Host: x", "Connection: close"))

    assert ["200"] * 1001 == statuses(answer)
    assert [f"/{number}" for number in range(1000)] == [seen[1] for seen in attacked.seen[:-1]]


async def test_nothing_behind_an_error_is_served() -> None:
    """Also where the first request is still being answered."""
    async with target("thread") as attacked:
        first = lines("Host: x", "Content-Length: 1")
        reader, writer = await connect(attacked.served, first)
        writer.write(b"X")
        await asyncio.sleep(0)
        writer.write(b"GARBAGE\r\n\r\n" + CANARY)
        answer = await reader.read()
        writer.close()

    assert statuses(answer) in (["200", "400"], ["400"])
    assert {"/"} >= {path for _, path, _ in attacked.seen}
