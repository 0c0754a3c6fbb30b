"""How much may stand around the pieces of a chunked body: sizes, extensions, trailers.

RFC 9112, section 7.1.1: "A server ought to limit the total length of chunk extensions". aiohttp's
parser has no limit, and tells nothing of them: what has arrived is compared with the body in it.
"""

from __future__ import annotations

from aiohttp import web

__all__ = ("ChunkBudget",)

# Bytes that are free, and for each byte of the body. Chunks of one byte need five around it.
_FREE = 1 << 14
_PER_BYTE = 8


class ChunkBudget:
    """The budget of one chunked body.

    Args:
        request: The request, whose head has arrived.
    """

    __slots__ = ("_content", "_head")

    def __init__(self, request: web.BaseRequest) -> None:
        self._content = request.content
        lines = (len(name) + len(value) + 4 for name, value in request.raw_headers)
        self._head = sum(lines) + len(request.method) + len(request.raw_path) + 13

    def refuse_body(self) -> None:
        """Let whoever reads the body get an error, although it may be whole."""
        self._content.set_exception(web.RequestPayloadError("too much around its chunks"))

    def is_exceeded(self, received: int) -> bool:
        """Return True if the client has sent too much besides the body.

        Args:
            received: Bytes of the request that the parser has read.
        """
        body = self._content.total_bytes
        return received - self._head - body > _FREE + _PER_BYTE * body
