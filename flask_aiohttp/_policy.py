"""What a request may look like, beyond what the parser sees to (RFC 9110, RFC 9112, gunicorn).

Rule 1: nothing here does I/O or knows a server; a request's words come in, and an error may go out.
Rule 2: what two readers could understand differently is refused, and not repaired.
Rule 3: a usual request costs a few look-ups; only what is unusual is examined.
"""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .exceptions import FlaskAioHTTPError

__all__ = (
    "TOO_LARGE",
    "Addresses",
    "HeaderMap",
    "Names",
    "Policy",
    "RequestRefused",
    "check",
    "scheme_of",
)

HeaderMap: TypeAlias = Literal["drop", "refuse", "dangerous"]

# What surrounds the target in a request line ("GET", two spaces, "HTTP/1.1"), and a value in its
# line (": " and the line's end): aiohttp's parser does not count it, gunicorn does.
_AROUND_TARGET = 13
_AROUND_TARGET_AT_MOST = 30  # the longest method that llhttp knows has 11 letters
_AROUND_VALUE = 4

# RFC 3986, section 3.2.2 and 3.2.3, without userinfo (RFC 9110, section 4.2.4) and without the
# comma, which would be two hosts.
_HOST = re.compile(
    r"(?:(?:[\w.~!$&'()*+;=-]|%[0-9A-Fa-f]{2})+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?", re.ASCII
)

# Transfer codings that gunicorn knows. None but chunked is decoded.
_CODINGS = frozenset(("chunked", "compress", "deflate", "gzip", "identity"))

_BAD = "400 Bad Request"
TOO_LARGE = "431 Request Header Fields Too Large"

# Names of headers that are remembered. Clients choose them, so their number and size are bounded,
# and the usual ones are there before anybody else's.
_MAX_NAMES = 1024
_MAX_NAME_SIZE = 64
_USUAL_NAMES = (
    *("Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control"),
    *("Connection", "Content-Length", "Content-Type", "Cookie", "DNT", "Expect", "Forwarded"),
    *("Host", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "Keep-Alive", "Origin"),
    *("Pragma", "Priority", "Range", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode"),
    *("Sec-Fetch-Site", "Sec-Fetch-User", "Sec-WebSocket-Extensions", "Sec-WebSocket-Key"),
    *("Sec-WebSocket-Protocol", "Sec-WebSocket-Version", "Transfer-Encoding"),
    *("Upgrade", "Upgrade-Insecure-Requests", "User-Agent", "Via", "X-Forwarded-For"),
    *("X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Real-IP", "X-Request-ID"),
    "X-Requested-With",
)


class RequestRefused(FlaskAioHTTPError):
    """Raised where a request cannot be served, whatever the application is.

    Args:
        status: What to answer, for example ``"400 Bad Request"``.
        problem: What is wrong with it, for the log. It may quote the client, as ``repr()`` does.
    """

    def __init__(self, status: str, problem: str) -> None:
        super().__init__(status, problem)
        self.status = status
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


@dataclass(frozen=True)
class Addresses:
    """Whose word counts: a list of IP addresses and networks, or everybody's."""

    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    everybody: bool = False

    @classmethod
    def of(cls, *networks: str) -> Addresses:
        """Return the addresses that are written like ``"192.0.2.0/24"``; ``"*"`` is everybody."""
        return cls(
            tuple(ipaddress.ip_network(network) for network in networks if network != "*"),
            "*" in networks,
        )

    def have(self, peer: object, server: object) -> bool:
        """Return True for a connection from one of them, or over a Unix socket.

        Args:
            peer: The client's address as ``socket.getpeername()`` gives it; None if it has left.
            server: The server's own address as ``socket.getsockname()`` gives it. This one tells
                a Unix socket: that of a client that has left at once is not known either.
        """
        if self.everybody or isinstance(server, (str, bytes)):
            return True
        if not isinstance(peer, tuple):
            return False
        try:
            address = ipaddress.ip_address(peer[0])
        except ValueError:
            return False
        return any(address in network for network in self.networks)


@dataclass(frozen=True)
class Policy:
    """What requests are served; the names and defaults of gunicorn's settings are in brackets."""

    # Bytes of the longest request line and header line, and the number of header lines
    # (limit_request_line, limit_request_field_size, limit_request_fields). The command line of
    # gunicorn has 4094 for the first.
    max_line: int = 8190
    max_field: int = 8190
    max_fields: int = 100

    # True to serve versions other than 1.x (permit_unconventional_http_version).
    any_version: bool = False

    # What becomes of a header whose name has an underscore: it would pass for another one in the
    # environ (header_map).
    header_map: HeaderMap = "drop"

    # Proxies (forwarded_allow_ips), the names with underscores that they may use, in capitals
    # (forwarder_headers), and the headers by which they say "https" (secure_scheme_headers).
    proxies: Addresses = dataclasses.field(
        default_factory=lambda: Addresses.of("127.0.0.1", "::1"),
    )
    proxy_names: frozenset[str] = frozenset(("SCRIPT_NAME", "PATH_INFO"))
    scheme_headers: Mapping[str, str] = dataclasses.field(
        default_factory=lambda: {
            "X-FORWARDED-PROTOCOL": "ssl",
            "X-FORWARDED-PROTO": "https",
            "X-FORWARDED-SSL": "on",
        }
    )

    @property
    def parser_limits(self) -> dict[str, int]:
        """The limits as aiohttp's parser is told them, so that it reads no more than needed.

        Its errors name the limit, so the two sizes differ. :func:`check` is exact.
        """
        line = max(1, self.max_line - _AROUND_TARGET)
        field = max(1, self.max_field - _AROUND_VALUE)
        return {
            "max_line_size": line + 1 if line == field else line,
            "max_field_size": field,
            "max_headers": self.max_fields,
        }


class Names:
    """Names of headers as they are sent, and the environ's name for each; None is to be dropped.

    Args:
        trusted: True for what a proxy sends.
    """

    def __init__(self, policy: Policy, *, trusted: bool) -> None:
        # Bytes of the longest name and value together. aiohttp's parser has the same limit for
        # each of the two: it means to add them, but forgets the name
        # (aiohttp/_http_parser.pyx, _process_header, as of 3.14.5).
        self._max_size = policy.max_field - _AROUND_VALUE

        # A value of more bytes is measured together with its name.
        self.large = self._max_size - _MAX_NAME_SIZE

        self._header_map = policy.header_map
        self._kept = policy.proxy_names if trusted else frozenset[str]()

        # By the environ's names, what says "https"; nothing of a stranger does.
        self.schemes = (
            {_variable(name): value for name, value in policy.scheme_headers.items()}
            if trusted
            else {}
        )

        # True if the header SCRIPT_NAME says where the application is mounted.
        self.may_mount = self._keeps("SCRIPT_NAME")

        # Those seen before, for a look-up that costs nothing.
        self.known: dict[bytes, str | None] = {}
        for usual in _USUAL_NAMES:
            for spelling in (usual, usual.lower()):
                self[spelling.encode()]

    def __getitem__(self, name: bytes) -> str | None:
        return self.known[name] if name in self.known else self.learn(name)

    def learn(self, name: bytes, value: bytes = b"") -> str | None:
        """Return the environ's name for a header that is not known yet.

        Raises:
            RequestRefused: A request with such a header cannot be served.
        """
        upper = name.decode("latin-1").upper()
        variable: str | None
        if upper in ("CONTENT-TYPE", "CONTENT-LENGTH"):
            variable = upper.replace("-", "_")
        elif upper == "PROXY":
            variable = None  # HTTP_PROXY is taken for a setting (https://httpoxy.org)
        elif self._keeps(upper):
            variable = _variable(upper)
        elif self._header_map == "refuse":
            raise RequestRefused(_BAD, f"Invalid HTTP header name: {upper!r}")
        else:
            variable = None
        if len(name) > _MAX_NAME_SIZE:
            self.check_size(name, value)
        elif len(self.known) < _MAX_NAMES:
            self.known[name] = variable
        return variable

    def check_size(self, name: bytes, value: bytes) -> None:
        """Measure a header line.

        Raises:
            RequestRefused: It is longer than its limit.
        """
        if len(name) + len(value) > self._max_size:
            raise RequestRefused(TOO_LARGE, f"Error parsing headers: {name[:64]!r} is too large")

    def _keeps(self, upper: str) -> bool:
        if "_" not in upper or upper in self._kept or "*" in self._kept:
            return True
        return self._header_map == "dangerous"


def _variable(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")


def check(policy: Policy, environ: Mapping[str, Any], version: tuple[int, int]) -> None:
    """Look at what of a request its parser lets through.

    Args:
        environ: The request, as WSGI has it.

    Raises:
        RequestRefused: It cannot be served.
    """
    method, target = environ["REQUEST_METHOD"], environ["RAW_URI"]
    if len(target) > policy.max_line - _AROUND_TARGET_AT_MOST:
        _check_line(policy, method, target)
    if version[0] != 1 and not policy.any_version:
        raise RequestRefused(_BAD, f"Invalid HTTP Version: {tuple(version)!r}")
    if method == "CONNECT":
        # RFC 9110, section 9.3.6: for proxies.
        raise RequestRefused("501 Not Implemented", "CONNECT asks for a tunnel")
    if "#" in target:
        # RFC 9112, section 3.2: no form of a target has a fragment.
        raise RequestRefused(_BAD, f"Invalid HTTP request line: a fragment in {target!r}")

    host = environ.get("HTTP_HOST")
    if host is not None and not _is_host(host):
        raise RequestRefused(_BAD, f"Invalid HTTP Header: Host {host!r}")
    if "HTTP_TRANSFER_ENCODING" in environ:
        _check_transfer_encoding(environ["HTTP_TRANSFER_ENCODING"], version)
    if "HTTP_EXPECT" in environ and not _only_expects_100(environ["HTTP_EXPECT"]):
        raise RequestRefused(
            "417 Expectation Failed",
            f"Unable to comply with expectation: {environ['HTTP_EXPECT']!r}",
        )
    if "HTTP_UPGRADE" in environ:
        _check_upgrade(environ)


def _check_line(policy: Policy, method: str, target: str) -> None:
    size = len(method) + len(target) + 10  # two spaces and "HTTP/1.1"
    if size > policy.max_line:
        raise RequestRefused(
            "414 URI Too Long", f"Request Line is too large ({size} > {policy.max_line})"
        )


@functools.lru_cache(maxsize=1024)
def _is_host(host: str) -> bool:
    return _HOST.fullmatch(host) is not None


def _check_transfer_encoding(value: str, version: tuple[int, int]) -> None:
    codings = [coding.strip(" \t").lower() for coding in value.split(",")]
    unknown = set(codings) - _CODINGS
    if unknown and "" not in unknown:
        raise RequestRefused("501 Not Implemented", f"Unsupported transfer coding: {value!r}")
    # RFC 9112, section 6.1 and 6.3: chunked comes last and once, and never in HTTP/1.0.
    if version < (1, 1) or codings.count("chunked") != 1 or codings[-1] != "chunked" or unknown:
        raise RequestRefused(_BAD, f"Invalid HTTP Header: Transfer-Encoding {value!r}")


def _only_expects_100(value: str) -> bool:
    return all(each.strip(" \t").lower() == "100-continue" for each in value.split(","))


def _check_upgrade(environ: Mapping[str, Any]) -> None:
    """Refuse a body before a websocket: whether it belongs to that, readers do not agree."""
    has_body = environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ
    if has_body and "websocket" in environ["HTTP_UPGRADE"].lower():
        raise RequestRefused(_BAD, "a request for a websocket has a body")


def scheme_of(names: Names, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return "https" or "http" as a proxy says it in *headers*.

    Raises:
        RequestRefused: It says both.
    """
    said = {
        "https" if value.decode("latin-1") == names.schemes[variable] else "http"
        for name, value in headers
        if (variable := names[name]) in names.schemes
    }
    if len(said) != 1:
        raise RequestRefused(_BAD, "Contradictory scheme headers")
    return said.pop()
