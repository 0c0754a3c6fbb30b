"""An HTTP/1.1 answer, read piece by piece from the bytes that were sent."""

from __future__ import annotations

__all__ = ("Answer",)

# The server's own: a test client never sees them.
_SERVER_FIELDS = ("server", "date", "connection", "transfer-encoding")


class Answer:
    """Understands what it is fed; the pieces of the body keep their borders where chunked.

    Args:
        method: The request's; an answer to HEAD has no body.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._buffer = b""
        self._chunked = False

        # Bytes of the body still to come; None if nobody knows.
        self._missing: int | None = None

        # Known once the head has arrived.
        self.status = ""
        self.headers: list[tuple[str, str]] = []

        # The whole head has arrived; the whole body has.
        self.begun = False
        self.complete = False

        # The connection may carry another request.
        self.reusable = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take what has arrived next, and return the pieces of the body that are in it."""
        self._buffer += data
        while not self.begun:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return []
            self._buffer = rest
            self._take_head(head.decode("latin-1"))
        if self._chunked:
            return self._take_chunks()
        data, self._buffer = self._buffer, b""
        if self._missing is not None:
            self._missing -= len(data)
            self.complete = self._missing <= 0
        return [data] if data else []

    def end(self) -> None:
        """Take note that nothing more will arrive."""
        self.reusable = False
        if self.begun and not self._chunked and self._missing is None:
            self.complete = True

    def _take_head(self, head: str) -> None:
        status, *lines = head.split("\r\n")
        self.status = status.partition(" ")[2]
        if self.status.startswith("1"):
            return
        self.begun = self.reusable = True
        for line in lines:
            name, _, value = line.partition(": ")
            lower = name.lower()
            if lower == "transfer-encoding":
                self._chunked = True
            elif lower == "connection":
                self.reusable = value != "close"
            elif lower == "content-length":
                self._missing = int(value)
            if lower not in _SERVER_FIELDS:
                self.headers.append((name, value))
        if self._method == "HEAD" or self.status[:3] in ("204", "304"):
            self._missing, self._chunked = 0, False

    def _take_chunks(self) -> list[bytes]:
        pieces = []
        while not self.complete:
            size, end, rest = self._buffer.partition(b"\r\n")
            length = int(size, 16) if end else 0
            if not end or len(rest) < length + 2:
                break
            self._buffer = rest[length + 2 :]
            if length:
                pieces.append(rest[:length])
            else:
                self.complete = True
        return pieces
