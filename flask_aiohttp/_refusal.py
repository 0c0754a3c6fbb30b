"""What is answered to, and logged of, what is no request that can be served."""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from ._policy import TOO_LARGE
from ._writer import SentResponse, http_date

__all__ = ("Refusal", "log_refusal", "refusal", "status_of")

# Characters of a client's that the log shows at most.
_MAX_PROBLEM = 200


class Refusal(SentResponse):
    """The answer to what is no request, which ends its connection.

    Args:
        status: For example ``"400 Bad Request"``.
        server: The Server field.
    """

    def __init__(self, status: str, server: str) -> None:
        super().__init__(int(status[:3]), 0, keep_alive=False)
        self._answer = status
        self._server = server

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send it."""
        if request.transport is not None:
            request.transport.write(
                refusal(self._answer, self._server, with_body=request.method != "HEAD")
            )


def refusal(status: str, server: str, *, with_body: bool = True) -> bytes:
    """Return the bytes of an answer that says no more than its status."""
    body = f"{status[4:]}\n".encode()
    head = (
        f"HTTP/1.1 {status}\r\nServer: {server}\r\nDate: {http_date()}\r\n"
        "Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode("latin-1")
    return head + body if with_body else head


def log_refusal(protocol: web.RequestHandler, problem: str) -> None:
    """Write one line; what the client has sent cannot end it, nor do anything to a terminal."""
    peer = protocol.peername
    address = peer[0] if isinstance(peer, tuple) else ""
    protocol.logger.warning(
        "Invalid request from ip=%s: %s", address, repr(problem[:_MAX_PROBLEM])[1:-1]
    )


def status_of(error: BaseException | None, max_line_size: int) -> str:
    """Return what gunicorn answers where aiohttp's parser has one status for everything.

    Args:
        max_line_size: The limit that the parser was given for a target.
    """
    if isinstance(error, LineTooLong):
        # The second argument is the limit that was passed.
        return "414 URI Too Long" if error.args[1] == max_line_size else TOO_LARGE
    return TOO_LARGE if "Too many headers" in str(error) else "400 Bad Request"
