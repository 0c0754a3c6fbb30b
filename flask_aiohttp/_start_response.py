"""What an application may answer, and the bytes of its head (PEP 3333, RFC 9110, RFC 9112).

Rule 1: nothing here does I/O: an answer is checked and serialized, not sent.
Rule 2: what reaches the wire is a status line and field lines and nothing else; no character of
        an application can end a line.
Rule 3: framing is the server's business. Hop-by-hop fields of the application are dropped, as
        gunicorn does.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias

from .exceptions import InvalidResponse

__all__ = ("ExcInfo", "Framing", "Pending", "Phase", "ResponseHead", "parse_head")

ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType]
Headers: TypeAlias = list[tuple[str, str]]

# RFC 9110, section 5.6.2; RFC 9112, section 4; RFC 9110, section 5.5.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS = re.compile(r"[1-9][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

# Fields of one connection, not of the answer (RFC 9110, section 7.6.1), and those that the
# server writes itself. The same list as gunicorn's.
_SERVER_FIELDS = frozenset(
    (
        "connection",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "server",
        "te",
        "trailers",
        "transfer-encoding",
        "upgrade",
    )
)


# With these the Content-Length is that of a file which only the proxy reads.
_PROXY_FIELDS = frozenset(("x-sendfile", "x-accel-redirect"))


class Phase(enum.Enum):
    """How far an answer has got; it moves only forward."""

    WAITING = enum.auto()  # start_response() has not been called
    DECLARED = enum.auto()  # it has been called, nothing is sent
    STREAMING = enum.auto()  # the head is on its way
    FINISHED = enum.auto()  # the body is complete


class Framing(enum.Enum):
    """How the client learns where the body ends (RFC 9112, section 6.3)."""

    NONE = enum.auto()  # there is none: HEAD, 204, 304
    LENGTH = enum.auto()  # after Content-Length bytes
    CHUNKED = enum.auto()  # after the last chunk
    CLOSE = enum.auto()  # with the connection (HTTP/1.0)


@dataclass(frozen=True)
class ResponseHead:
    """What an application declared, checked."""

    # Status line without the version, as the application gave it: "404 NOT FOUND".
    status: str
    code: int

    # The application's fields without those that are the server's.
    headers: Headers

    # The declared Content-Length in bytes, or None.
    content_length: int | None

    # True if the application asked for the connection's end with "Connection: close".
    close: bool

    @property
    def is_sent_by_proxy(self) -> bool:
        """True if a proxy puts a file in the body's place (X-Sendfile, X-Accel-Redirect)."""
        return any(name.lower() in _PROXY_FIELDS for name, _ in self.headers)

    def without_body(self) -> ResponseHead:
        """Return the same head, which says that there is no body."""
        kept = [(name, value) for name, value in self.headers if name.lower() != "content-length"]
        return dataclasses.replace(self, headers=[*kept, ("Content-Length", "0")], content_length=0)

    def framing(self, method: str, version: tuple[int, int]) -> Framing:
        """Return how the body of this answer to a request is delimited."""
        if method == "HEAD" or self.code in (204, 304) or self.code < 200:
            return Framing.NONE
        if self.content_length is not None:
            return Framing.LENGTH
        return Framing.CHUNKED if version >= (1, 1) else Framing.CLOSE

    def serialize(
        self,
        framing: Framing,
        *,
        version: tuple[int, int],
        server: str,
        date: str,
        keep_alive: bool,
    ) -> bytes:
        """Return the head as it goes out, with the server's own fields."""
        # RFC 9112, section 4: the space after the code is due even where no reason follows.
        status = self.status if len(self.status) > 3 else f"{self.status} "
        lines = [f"HTTP/1.1 {status}\r\nServer: {server}\r\nDate: {date}\r\n"]
        if not keep_alive:
            lines.append("Connection: close\r\n")
        elif version < (1, 1):
            lines.append("Connection: keep-alive\r\n")
        if self.code == 426:
            # RFC 9110, section 15.5.22: it MUST say what to upgrade to.
            lines.append("Upgrade: websocket\r\nConnection: upgrade\r\n")
        if framing is Framing.CHUNKED:
            lines.append("Transfer-Encoding: chunked\r\n")
        for name, value in self.headers:
            lines.append(f"{name}: {value}\r\n")
        lines.append("\r\n")
        return "".join(lines).encode("latin-1")


def parse_head(status: object, headers: Iterable[tuple[object, object]]) -> ResponseHead:
    """Check what an application gave to ``start_response()``.

    Raises:
        InvalidResponse: A status, a name or a value is not what PEP 3333 and RFC 9110 allow. The
            message never contains a header's value.
    """
    if not isinstance(status, str):
        raise InvalidResponse(f"its status is {type(status).__name__}, not str: {status!r}")
    if _STATUS.fullmatch(status) is None:
        raise InvalidResponse(f"its status is not like '200 OK': {status!r}")
    code = int(status[:3])

    kept: Headers = []
    content_length: int | None = None
    close = False
    for name, value in headers:
        if not isinstance(name, str) or not isinstance(value, str):
            raise InvalidResponse(f"the header {name!r} is not a pair of two str")
        if _TOKEN.fullmatch(name) is None:
            raise InvalidResponse(f"{name!r} is not a header's name")
        if _VALUE.fullmatch(value) is None:
            raise InvalidResponse(
                f"the value of the header {name!r} has a control character or is not latin-1"
            )
        lower = name.lower()
        if lower in _SERVER_FIELDS:
            close = close or (lower == "connection" and value.strip().lower() == "close")
            continue
        if lower == "content-length":
            if code < 200 or code == 204:
                continue  # RFC 9110, section 8.6: a server MUST NOT send it
            known, content_length = content_length, _parse_length(value, content_length)
            if known is not None:
                continue  # said already
        kept.append((name, value.strip(" \t")))
    return ResponseHead(status, code, kept, content_length, close)


def _parse_length(value: str, known: int | None) -> int:
    digits = value.strip(" \t")
    if not (digits.isascii() and digits.isdigit()):
        raise InvalidResponse("its Content-Length is not a number")
    length = int(digits)
    if known is not None and known != length:
        raise InvalidResponse("it has two different Content-Length headers")
    return length


class Pending:
    """The ``start_response()`` of one request, and what it was told.

    Args:
        write: What ``start_response()`` returns: the ``write()`` of PEP 3333.
    """

    __slots__ = ("head", "phase", "write")

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.write = write
        self.phase = Phase.WAITING

        # What start_response() was told last; None until then.
        self.head: ResponseHead | None = None

    def __call__(
        self, status: str, headers: Headers, exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """Take the application's status and headers (PEP 3333, "The start_response() Callable").

        Raises:
            InvalidResponse: They cannot be sent, or there was an answer already.
        """
        try:
            if exc_info is not None:
                if self.phase is Phase.STREAMING or self.phase is Phase.FINISHED:
                    # "the application has no way to recover": the error goes on to the server.
                    raise exc_info[1].with_traceback(exc_info[2])
            elif self.phase is not Phase.WAITING:
                raise InvalidResponse("start_response() was called twice without exc_info")
            self.head = parse_head(status, headers)
            self.phase = Phase.DECLARED
        finally:
            exc_info = None  # PEP 3333: avoid a circular reference through the traceback
        return self.write
