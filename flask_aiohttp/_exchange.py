"""One request as WSGI sees it: call the application, send what it yields, close.

Rule 1: all of it happens in one place, greenlet or thread, in one context; this module waits only
        by ``await_()`` and does not know which place it is.
Rule 2: ``close()`` of the application's iterable is called once, whatever happens (PEP 3333).
Rule 3: bytes leave as soon as the application has yielded them. The last ones are not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from aiohttp import web

from ._client import Client
from ._environ import Environ
from ._file_wrapper import FileWrapper
from ._start_response import Framing, Pending, Phase, ResponseHead, parse_head
from ._threads import ThreadPool
from ._waiting import await_
from ._writer import Connection, SentResponse, http_date
from .exceptions import InvalidResponse

__all__ = ("NO_STATUS", "Exchange", "WSGIApplication")

WSGIApplication: TypeAlias = Callable[[dict[str, Any], Any], Iterable[bytes]]

# Below this size head and body are joined for one write; above it copying costs more than a call.
_JOIN_LIMIT = 1 << 16

# The status for the log of a request whose client left before there was one: nginx's.
NO_STATUS = "499 Client Closed Request"


class Exchange:
    """One request and its answer.

    Args:
        application: Any WSGI callable.
        environ: The request.
        connection: Where the answer goes.
        client: Who is answered; the application sees it in the environ.
        version: The HTTP version of the request.
        server: The Server field of the answer.
        reusable: May the connection carry another request, for all that this one says?
    """

    # Without a dict: an idle websocket keeps its exchange for as long as it is open.
    __slots__ = (
        *("_missing", "application", "client", "connection", "environ", "framing", "keep_alive"),
        *("message", "on_loop", "pending", "reusable", "sent", "server", "version"),
    )

    def __init__(
        self,
        application: WSGIApplication,
        environ: Environ,
        connection: Connection,
        client: Client,
        *,
        version: tuple[int, int],
        server: str,
        reusable: bool,
    ) -> None:
        self.application = application
        self.environ = environ
        self.connection = connection
        self.client = client
        self.version = version
        self.server = server
        self.reusable = reusable

        # What a server's hooks have made of this request, for its access log.
        self.message: Any = None

        # Calls a function on the loop without waiting for it: at once, or from a thread.
        self.on_loop: Callable[..., object] = _call

        self.pending = Pending(self.write)
        environ["wsgi.early_hints"] = self.early_hints
        environ["flask_aiohttp.client"] = client

        # Set when the head is sent.
        self.framing = Framing.NONE
        self.keep_alive = False

        # Bytes of the body that are still due after what was sent, if their number is known.
        self._missing = 0

        # Bytes of the body that were sent.
        self.sent = 0

    def enter_thread(self, pool: ThreadPool) -> None:
        """Take note that the application will run in a thread of *pool*."""
        self.on_loop = pool.post

    def run(self) -> None:
        """Call the application, send its answer, and close it.

        Raises:
            InvalidResponse: The answer broke the rules.
            ClientGone: The client left before its end.
            Exception: Whatever the application raises.
        """
        body = self.application(self.environ, self.pending)
        try:
            if not (isinstance(body, FileWrapper) and self._send_file(body)):
                for data in body:
                    self.write(data)
                    if self.framing is Framing.NONE and data:
                        # The rest is for nobody (HEAD, 204, 304), and may be endless. PEP 3333
                        # asks for close(), as after a client that has left early.
                        break
            self.finish()
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()

    @property
    def phase(self) -> Phase:
        """How far the answer has got."""
        return self.pending.phase

    @property
    def status(self) -> str:
        """The status for the log."""
        head = self.pending.head
        return head.status if head else NO_STATUS

    def write(self, data: bytes) -> None:
        """Send one piece of the body, the head before the first.

        Waits while the client takes less than it is given, except for the last piece.
        """
        if not isinstance(data, bytes):
            raise InvalidResponse(f"its body yielded {type(data).__name__}, not bytes")
        if not data:
            return
        prefix = b""
        if self.pending.phase is not Phase.STREAMING:
            if self.pending.phase is Phase.FINISHED:
                raise InvalidResponse("write() was called after the end of its body")
            prefix = self._begin(self._declared_head())

        if self.framing is Framing.NONE:
            self._send_last(prefix)
        elif self.framing is Framing.LENGTH:
            data = data[: self._missing]
            self._missing -= len(data)
            self.sent += len(data)
            if self._missing:
                self._send(prefix, data)
            else:
                self._send_last(prefix, data)
        else:
            self.sent += len(data)
            if self.framing is Framing.CHUNKED:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            self._send(prefix, data)

    def finish(self) -> None:
        """Send what is due after the last piece of the body.

        Raises:
            InvalidResponse: ``start_response()`` was never called, or the body is shorter than
                its Content-Length.
        """
        if self.pending.phase is Phase.STREAMING:
            if self.framing is Framing.CHUNKED:
                # First of all: a client that has these bytes may leave before this line is done.
                self.pending.phase = Phase.FINISHED
                self._send_last(b"0\r\n\r\n")
        else:
            head = self._declared_head()
            framing = head.framing(self.environ["REQUEST_METHOD"], self.version)
            if framing in (Framing.CHUNKED, Framing.CLOSE) or head.is_sent_by_proxy:
                head = head.without_body()
            self._send_last(self._begin(head))
        if self._missing:
            raise InvalidResponse(f"its body is {self._missing} bytes shorter than Content-Length")
        self.pending.phase = Phase.FINISHED

    def early_hints(self, headers: list[tuple[str, str]]) -> None:
        """Tell the client what the answer will need: ``environ["wsgi.early_hints"]`` (RFC 8297).

        Does nothing once the answer has begun, and for HTTP/1.0, as with gunicorn.

        Raises:
            InvalidResponse: A name or a value cannot be sent.
        """
        if self.version >= (1, 1) and self.phase in (Phase.WAITING, Phase.DECLARED):
            hints = parse_head("103 Early Hints", headers)
            lines = "".join(f"{name}: {value}\r\n" for name, value in hints.headers)
            data = f"HTTP/1.1 {hints.status}\r\n{lines}\r\n".encode("latin-1")
            self.on_loop(self.connection.send, data)

    def send_continue(self) -> None:
        """Ask for the request's body, unless the answer has begun: then it would stand in it."""
        if self.phase is Phase.WAITING or self.phase is Phase.DECLARED:
            self.connection.send_continue()

    def fail(self, status: str) -> None:
        """Bring the answer to an end after the application has failed. Call it on the loop.

        Args:
            status: What to answer, if nothing has been sent yet.
        """
        # The place has been left. What were posted now would come after the connection's end.
        self.on_loop = _call
        if self.phase is Phase.STREAMING:
            self.cut()
        elif self.phase is not Phase.FINISHED:
            self.answer(status, f"{status[4:]}\n")

    def cut(self) -> None:
        """End the connection, so that a truncated answer cannot be taken for a whole one."""
        self.keep_alive = False
        # An answer that ends with its connection looks whole if that ends in peace.
        self.connection.cut(abort=self.framing is Framing.CLOSE)

    def answer(self, status: str, text: str) -> None:
        """Answer in the application's place, before its head was sent. Call it on the loop."""
        body = text.encode()
        self.pending.phase = Phase.WAITING
        self.pending(
            status,
            [
                ("Content-Type", "text/plain; charset=utf-8"),
                ("Content-Length", str(len(body))),
                ("Connection", "close"),
            ],
        )
        self.write(body)
        self.finish()

    async def end(self) -> None:
        """Wait until the client has taken what was sent.

        Raises:
            ClientGone: It left instead.
        """
        await self.connection.drain()

    @property
    def is_streaming(self) -> bool:
        """True while a part of the body is out and another one due."""
        return self.phase is Phase.STREAMING and (
            bool(self._missing) or self.framing in (Framing.CHUNKED, Framing.CLOSE)
        )

    def client_half_closed(self) -> bool:
        """Take note that the client sends no more; return True if it may still read the answer."""
        may_read = self.client.half_close(streaming=self.is_streaming)
        return may_read and self.connection.request_is_whole

    def client_left(self) -> None:
        """Take note that nothing is received or sent any more."""
        self.client.leave(streaming=self.is_streaming)

    def release(self) -> None:
        """Let go of what belongs to this exchange alone, however it ended."""
        self.client.release()
        # Else the exchange and its start_response() keep each other, and all they refer to, until
        # the collector runs.
        self.pending.write = self.environ["wsgi.early_hints"] = _nowhere

    def response(self) -> web.StreamResponse:
        """Return what aiohttp is told about the answer."""
        head = self.pending.head
        return SentResponse(head.code if head else 500, self.sent, self.keep_alive)

    def _declared_head(self) -> ResponseHead:
        head = self.pending.head
        if head is None:
            raise InvalidResponse("start_response() was not called before the body")
        return head

    def _begin(self, head: ResponseHead) -> bytes:
        if head.code < 200:
            # The client would take the next answer on this connection for this request's.
            raise InvalidResponse(f"{head.status!r} is no final answer")
        self.framing = head.framing(self.environ["REQUEST_METHOD"], self.version)
        self.keep_alive = (
            self.reusable
            and self.framing is not Framing.CLOSE
            and not head.close
            and not self.client.server_is_closing
            and self.connection.request_is_whole
        )
        if self.framing is Framing.LENGTH:
            self._missing = head.content_length or 0
        self.pending.phase = Phase.STREAMING
        return head.serialize(
            self.framing,
            version=self.version,
            server=self.server,
            date=http_date(),
            keep_alive=self.keep_alive,
        )

    def _send_file(self, body: FileWrapper) -> bool:
        """Let the kernel send the file; return False where it has to be sent in pieces."""
        head = self.pending.head
        if not self.connection.can_send_files or head is None or self.phase is not Phase.DECLARED:
            return False
        if head.framing(self.environ["REQUEST_METHOD"], self.version) is not Framing.LENGTH:
            return False
        position = body.position()
        if position is None:
            return False
        self.on_loop(self.connection.send, self._begin(head))
        sent = await_(self.connection.send_file(body.file, position, self._missing))
        self._missing -= sent
        self.sent += sent
        if self._missing:
            body.file.seek(position + sent)
            return False
        return True

    def _send(self, prefix: bytes, data: bytes) -> None:
        await_(self.connection.send_and_drain(*_pieces(prefix, data)))

    def _send_last(self, prefix: bytes, data: bytes = b"") -> None:
        for piece in _pieces(prefix, data):
            self.on_loop(self.connection.send, piece)


def _pieces(prefix: bytes, data: bytes) -> tuple[bytes, ...]:
    """Return what to write: one piece, unless that would copy much."""
    if prefix and len(data) > _JOIN_LIMIT:
        return prefix, data
    return (prefix + data,) if prefix or data else ()


def _call(function: Callable[..., object], *args: object) -> None:
    function(*args)


def _nowhere(_: object) -> None:
    """Take what an application writes after its exchange has ended."""
