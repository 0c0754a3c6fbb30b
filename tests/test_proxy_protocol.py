"""A PROXY header is read to its last byte, or not at all."""

from __future__ import annotations

import random
import struct
from ipaddress import ip_address

import pytest

from flask_aiohttp._policy import RequestRefused
from flask_aiohttp._proxy_protocol import Header, parse

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HTTP = b"GET / HTTP/1.1\r\n"


def read(data: bytes, versions: tuple[int, ...] = (1, 2)) -> tuple[Header | None, int] | None:
    return parse(data, versions, lambda: True)


def binary(command: int, family: int, addresses: bytes, length: int | None = None) -> bytes:
    size = len(addresses) if length is None else length
    return SIGNATURE + struct.pack(">BBH", command, family, size) + addresses


def addresses(client: str, proxy: str) -> bytes:
    packed = ip_address(client).packed + ip_address(proxy).packed
    return packed + struct.pack(">HH", 4711, 443)


TCP4 = Header("TCP4", ("192.0.2.1", 4711), ("192.0.2.2", 443))
TCP6 = Header("TCP6", ("2001:db8::1", 4711), ("2001:db8::2", 443))

HEADERS = [
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n", TCP4),
    (b"PROXY TCP6 2001:db8::1 2001:0DB8::2 4711 443\r\n", TCP6),
    (b"PROXY UNKNOWN\r\n", Header("UNKNOWN")),
    (b"PROXY UNKNOWN ffff::1 whatever 65535 65535\r\n", Header("UNKNOWN")),
    (binary(0x21, 0x11, addresses("192.0.2.1", "192.0.2.2")), TCP4),
    (binary(0x21, 0x21, addresses("2001:db8::1", "2001:db8::2")), TCP6),
    (binary(0x21, 0x11, addresses("192.0.2.1", "192.0.2.2") + b"\x04\0\x05facts"), TCP4),
    (binary(0x20, 0x00, b""), Header("LOCAL")),
    (binary(0x20, 0x11, addresses("192.0.2.1", "192.0.2.2")), Header("LOCAL")),
    (binary(0x21, 0x00, b"anything"), Header("UNSPEC")),
    (binary(0x21, 0x31, bytes(216)), Header("UNSPEC")),
]


@pytest.mark.parametrize(("data", "header"), HEADERS)
def test_a_header_is_taken_off_what_follows(data: bytes, header: Header) -> None:
    """Wherever it is cut, it is read when it is whole and not before."""
    assert [None] * len(data) == [read(data[:end]) for end in range(len(data))]
    assert (header, len(data)) == read(data) == read(data + HTTP)


@pytest.mark.parametrize(
    "data",
    [
        HTTP,
        b"P",
        b"PROXY",
        b"PROXYTCP4",
        b"PROXIED / HTTP/1.1\r\n",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"\r\nGET",
    ],
)
def test_a_connection_may_begin_without_a_header(data: bytes) -> None:
    """As soon as that is certain, all of it belongs to HTTP."""
    whole = read(data + HTTP)

    assert (None, 0) == whole


@pytest.mark.parametrize(("versions", "index"), [((2,), 0), ((1,), 4)])
def test_a_version_that_is_not_wanted_is_no_header(versions: tuple[int, ...], index: int) -> None:
    """proxy_protocol=v1 and v2 read that one alone."""
    assert (None, 0) == read(HEADERS[index][0], versions)


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443 1\r\n",
        b"PROXY TCP4 192.0.2.1  192.0.2.2 4711 443\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 4711 443\r\n",
        b"PROXY TCP4 192.0.02.1 192.0.2.2 4711 443\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 4711 443\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 4711 443\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::2 4711 443\r\n",
        b"PROXY TCP5 192.0.2.1 192.0.2.2 4711 443\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 4711 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 +80 443\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\n" + bytes(100),
        b"PROXY TCP4 \xd9\xa1.0.2.1 192.0.2.2 4711 443\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY " + b"x" * 101,
        b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
        binary(0x11, 0x11, addresses("192.0.2.1", "192.0.2.2")),
        binary(0x22, 0x11, addresses("192.0.2.1", "192.0.2.2")),
        binary(0x21, 0x12, addresses("192.0.2.1", "192.0.2.2")),
        binary(0x21, 0x41, addresses("192.0.2.1", "192.0.2.2")),
        binary(0x21, 0x11, bytes(11)),
        binary(0x21, 0x21, bytes(35)),
    ],
)
def test_a_malformed_header_is_refused(data: bytes) -> None:
    """The connection must not go on with an address that is a guess."""
    with pytest.raises(RequestRefused, match="PROXY") as caught:
        read(data)

    assert "400 Bad Request" == caught.value.status


@pytest.mark.parametrize("data", [b"PROXY ", SIGNATURE, HEADERS[0][0]])
def test_a_stranger_is_refused_at_once(data: bytes) -> None:
    """Before anything is kept of what it sends."""
    with pytest.raises(RequestRefused) as caught:
        parse(data, (1, 2), lambda: False)

    assert "403 Forbidden" == caught.value.status
    assert (None, 0) == parse(HTTP, (1, 2), lambda: False)


def test_nothing_else_comes_of_any_bytes() -> None:
    """Headers that are damaged anyhow are read, refused or waited for; no other error."""
    chance = random.Random(4711)
    for _ in range(20_000):
        data = bytearray(chance.choice(HEADERS)[0] + HTTP)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(min(len(data), 60))] = chance.randrange(256)
        try:
            found = read(bytes(data[: chance.randrange(1, len(data) + 1)]))
        except RequestRefused:
            continue
        if found is not None and (client := (found[0] or Header("")).client) is not None:
            assert str(ip_address(client[0])) == client[0]
            assert 0 <= client[1] <= 65535
