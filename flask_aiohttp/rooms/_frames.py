"""What workers say to each other: frames with their length in front.

::

    length: 4 bytes, of the body    type: 1 byte    body

    HELLO    the key that they share, the sender's name; the first frame in each direction
    READY    the sender has named all its rooms
    ENTER    number (4 bytes), room: send me what is sent to it; answered, unless the number is 0
    LEAVE    room: send me no more
    COUNT    number (4 bytes), room: how many members have you? answered
    ANSWER   number (4 bytes) of the question, and the answer (4 bytes)
    MESSAGE  kind (1 byte), length of the room's name (2 bytes), room, payload
    BYE      the sender leaves; the receiver sends no more, and closes

All integers are unsigned and big-endian, names are UTF-8.
"""

from __future__ import annotations

import enum
import struct

from ._message import MAX_MESSAGE, Kind, Message

__all__ = (
    "VERSION",
    "BadFrame",
    "FrameReader",
    "Type",
    "decode_message",
    "decode_question",
    "encode",
    "encode_message",
    "encode_question",
)

# Workers with different versions of these frames do not look for each other.
VERSION = 1

_HEAD = struct.Struct("!IB")
_MESSAGE_HEAD = struct.Struct("!BH")
_NUMBER = struct.Struct("!I")

# Bytes of the largest body: that of a message.
_MAX_BODY = _MESSAGE_HEAD.size + 0xFFFF + MAX_MESSAGE


class Type(enum.IntEnum):
    """What a frame is."""

    HELLO = 1
    READY = 2
    ENTER = 3
    LEAVE = 4
    COUNT = 5
    ANSWER = 6
    MESSAGE = 7
    BYE = 8


_TYPES = {kind.value: kind for kind in Type}


class BadFrame(ValueError):
    """Raised for bytes that no worker sends."""


def encode(kind: Type, body: bytes = b"") -> bytes:
    """Return one frame."""
    return _HEAD.pack(len(body), kind) + body


def encode_question(kind: Type, number: int, room: str) -> bytes:
    """Return a frame that is to be answered."""
    return encode(kind, _NUMBER.pack(number) + room.encode())


def decode_question(body: bytes) -> tuple[int, str]:
    """Return the number and the room."""
    return _NUMBER.unpack_from(body)[0], body[_NUMBER.size :].decode()


def encode_message(room: str, message: Message) -> bytes:
    """Return the body of a MESSAGE."""
    name = room.encode()
    return _MESSAGE_HEAD.pack(message.kind, len(name)) + name + message.payload


def decode_message(body: bytes) -> tuple[str, Message]:
    """Return the room and the message."""
    kind, length = _MESSAGE_HEAD.unpack_from(body)
    start = _MESSAGE_HEAD.size
    name, payload = body[start : start + length], body[start + length :]
    if len(name) < length:
        raise BadFrame("a message ends within its room's name")
    return name.decode(), Message(Kind(kind), payload)


class FrameReader:
    """Takes frames out of a stream of bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()

        # Where the first frame that was not taken begins.
        self._start = 0

    def feed(self, data: bytes) -> None:
        """Add what has come."""
        del self._buffer[: self._start]
        self._start = 0
        self._buffer += data

    def take(self) -> tuple[Type, bytes] | None:
        """Return the next frame's type and body, or None if none is whole.

        Raises:
            BadFrame: The stream is not one of frames.
        """
        body = self._start + _HEAD.size
        if len(self._buffer) < body:
            return None
        length, kind = _HEAD.unpack_from(self._buffer, self._start)
        if length > _MAX_BODY or kind not in _TYPES:
            raise BadFrame(f"a frame of {length} bytes and type {kind}")
        end = body + length
        if len(self._buffer) < end:
            return None
        self._start = end
        return _TYPES[kind], bytes(memoryview(self._buffer)[body:end])
