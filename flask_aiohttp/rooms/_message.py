"""A message, encoded once however many members it has, and the names of rooms."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType

from ..exceptions import InvalidRoom, RoomMessageTooLarge

__all__ = ("MAX_MESSAGE", "Kind", "Message", "check_room")

# Bytes of the largest message: those of the largest one that a websocket accepts by default.
MAX_MESSAGE = 16 * 1024 * 1024

# Bytes of the longest name, which travels with its length in two bytes.
_MAX_NAME = 0xFFFF


class Kind(enum.IntEnum):
    """What a message was before it was encoded; the numbers travel between workers."""

    TEXT = 1
    BINARY = 2
    JSON = 3


class Message:
    """What was sent to a room.

    Args:
        payload: UTF-8, unless the message is binary.
    """

    __slots__ = ("_frame", "kind", "payload")

    def __init__(self, kind: Kind, payload: bytes) -> None:
        self.kind = kind
        self.payload = payload
        self._frame: bytes | None = None

    @classmethod
    def of(cls, data: Any, dumps: Callable[[Any], str]) -> Message:
        """Return *data* as a message: str and bytes as they are, anything else as JSON.

        Raises:
            RoomMessageTooLarge: It has more than 16 MiB.
            TypeError: JSON cannot hold *data*.
        """
        if isinstance(data, str):
            message = cls(Kind.TEXT, data.encode())
        elif isinstance(data, (bytes, bytearray, memoryview)):
            message = cls(Kind.BINARY, bytes(data))
        else:
            message = cls(Kind.JSON, dumps(data).encode())
        if len(message.payload) > MAX_MESSAGE:
            raise RoomMessageTooLarge(len(message.payload), MAX_MESSAGE)
        return message

    def data(self, loads: Callable[[str], Any]) -> Any:
        """Return what was sent. Each call makes a new object of JSON: nobody shares it."""
        if self.kind is Kind.BINARY:
            return self.payload
        text = self.payload.decode()
        return text if self.kind is Kind.TEXT else loads(text)

    @property
    def frame(self) -> bytes:
        """The message as a server's websocket frame (RFC 6455, section 5.2): whole and unmasked.

        It is legal on a compressed connection too, as an uncompressed message (RFC 7692,
        section 6).
        """
        if self._frame is None:
            opcode = WSMsgType.BINARY if self.kind is Kind.BINARY else WSMsgType.TEXT
            length = len(self.payload)
            if length < 126:
                head = bytes((0x80 | opcode, length))
            elif length <= 0xFFFF:
                head = bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
            else:
                head = bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")
            self._frame = head + self.payload
        return self._frame


def check_room(room: object) -> str:
    """Return *room* if it can name one.

    Raises:
        InvalidRoom: It is no str, empty, longer than 65,535 bytes, or has lone surrogates.
    """
    if not isinstance(room, str):
        raise InvalidRoom(room, "not a str")
    if not room:
        raise InvalidRoom(room, "empty")
    try:
        length = len(room.encode())
    except UnicodeEncodeError:
        raise InvalidRoom(room, "not valid Unicode") from None
    if length > _MAX_NAME:
        raise InvalidRoom(room, f"{length} bytes long, more than {_MAX_NAME}")
    return room
