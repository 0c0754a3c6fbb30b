"""What a proxy says of a connection before HTTP begins: the PROXY protocol, versions 1 and 2.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt

Rule 1: nothing here does I/O: bytes come in; a header, a wish for more bytes or an error goes out.
Rule 2: "The receiver MUST be configured to only receive the protocol", from senders that it trusts.
        Like gunicorn this one takes connections without a header too, as those of the proxy itself.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ._policy import Addresses, RequestRefused

__all__ = ("Header", "ProxyProtocol", "parse")

Address: TypeAlias = tuple[str, int]

# How each version begins.
_BEGINNINGS = {1: b"PROXY ", 2: b"\r\n\r\n\0\r\nQUIT\n"}

# Bytes of the longest line of version 1, with its end.
_MAX_LINE = 107

_LINE = re.compile(rb"PROXY (TCP[46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ([0-9]{1,5}) ([0-9]{1,5})")

# Of version 2: the address family and transport of TCP over IPv4 and IPv6, the family that says
# nothing and that of Unix sockets, whose addresses are of no use here.
_TCP4, _TCP6 = 0x11, 0x21
_NO_ADDRESS = (0x00, 0x31)


@dataclass(frozen=True)
class ProxyProtocol:
    """Whose headers are read: gunicorn's proxy_protocol and proxy_allow_ips."""

    versions: tuple[int, ...] = (1, 2)
    senders: Addresses = dataclasses.field(default_factory=lambda: Addresses.of("127.0.0.1", "::1"))


@dataclass(frozen=True)
class Header:
    """What a proxy said."""

    # "TCP4" or "TCP6"; "LOCAL", "UNSPEC" or "UNKNOWN" for its own connections, and for those of
    # which it knows nothing.
    protocol: str

    # Who connected to the proxy, and to which of its addresses.
    client: Address | None = None
    proxy: Address | None = None

    def environ(self) -> dict[str, Any]:
        """Return what gunicorn puts into the environ."""
        environ: dict[str, Any] = {"PROXY_PROTOCOL": self.protocol}
        if self.client is not None and self.proxy is not None:
            environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = self.client[0], str(self.client[1])
            environ["PROXY_ADDR"], environ["PROXY_PORT"] = self.proxy[0], str(self.proxy[1])
        return environ


def parse(
    data: bytes, versions: tuple[int, ...], is_allowed: Callable[[], bool]
) -> tuple[Header | None, int] | None:
    """Read the header at the beginning of a connection.

    Args:
        data: All that has arrived so far.
        versions: Those that are read.
        is_allowed: Asked once a header has begun: may this peer send one?

    Returns:
        The header, or None where the connection begins without one, and the number of its bytes;
        None where more bytes are needed to tell.

    Raises:
        RequestRefused: It is malformed, or comes from a stranger.
    """
    for version in versions:
        beginning = _BEGINNINGS[version]
        if data.startswith(beginning):
            if not is_allowed():
                raise RequestRefused("403 Forbidden", "a PROXY header, and not in proxy_allow_ips")
            return _parse_text(data) if version == 1 else _parse_binary(data)
        if beginning.startswith(data):
            return None
    return None, 0


def _parse_text(data: bytes) -> tuple[Header, int] | None:
    line, end, _ = data[:_MAX_LINE].partition(b"\r\n")
    if not end:
        if len(data) >= _MAX_LINE:
            raise _malformed(data[:_MAX_LINE])
        return None
    size = len(line) + 2
    if line == b"PROXY UNKNOWN" or line.startswith(b"PROXY UNKNOWN "):
        return Header("UNKNOWN"), size
    match = _LINE.fullmatch(line)
    if match is None:
        raise _malformed(line)
    protocol, client, proxy, client_port, proxy_port = (each.decode() for each in match.groups())
    if max(int(client_port), int(proxy_port)) > 65535:
        raise _malformed(line)
    kind = ipaddress.IPv4Address if protocol == "TCP4" else ipaddress.IPv6Address
    try:
        addresses = [str(kind(client)), str(kind(proxy))]
    except ValueError:
        raise _malformed(line) from None
    return (
        Header(protocol, (addresses[0], int(client_port)), (addresses[1], int(proxy_port))),
        size,
    )


def _parse_binary(data: bytes) -> tuple[Header, int] | None:
    if len(data) < 16:
        return None
    command, family, length = struct.unpack(">BBH", data[12:16])
    if command not in (0x20, 0x21):
        raise _malformed(data[:16])
    size = 16 + length
    if command == 0x20:
        header = Header("LOCAL")
    elif family in _NO_ADDRESS:
        header = Header("UNSPEC")
    elif family in (_TCP4, _TCP6):
        shape = ">4s4sHH" if family == _TCP4 else ">16s16sHH"
        if length < struct.calcsize(shape):
            raise _malformed(data[:16])
        if len(data) < size:
            return None
        client, proxy, client_port, proxy_port = struct.unpack_from(shape, data, 16)
        header = Header(
            "TCP4" if family == _TCP4 else "TCP6",
            (str(ipaddress.ip_address(client)), client_port),
            (str(ipaddress.ip_address(proxy)), proxy_port),
        )
    else:
        raise _malformed(data[:16])
    # What follows the addresses are facts of TLS and the like (section 2.2.2 and on).
    return (header, size) if len(data) >= size else None


def _malformed(data: bytes) -> RequestRefused:
    return RequestRefused("400 Bad Request", f"Invalid PROXY header: {data!r}")
