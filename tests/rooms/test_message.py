"""A message is encoded once, and is the websocket frame that aiohttp would have made."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from flask_aiohttp import InvalidRoom, RoomMessageTooLarge
from flask_aiohttp.rooms._message import MAX_MESSAGE, Kind, Message, check_room


@pytest.mark.parametrize(
    ("data", "kind", "payload"),
    [
        ("grüß", Kind.TEXT, "grüß".encode()),
        ("", Kind.TEXT, b""),
        (b"\x00\xff", Kind.BINARY, b"\x00\xff"),
        (bytearray(b"ab"), Kind.BINARY, b"ab"),
        (memoryview(b"ab"), Kind.BINARY, b"ab"),
        ({"a": [1, None]}, Kind.JSON, b'{"a": [1, null]}'),
        (7, Kind.JSON, b"7"),
        (None, Kind.JSON, b"null"),
    ],
)
def test_text_and_bytes_stay_and_all_else_is_json(data: Any, kind: Kind, payload: bytes) -> None:
    """What comes out is what went in."""
    message = Message.of(data, json.dumps)

    assert (kind, payload) == (message.kind, message.payload)
    assert data == message.data(json.loads)


def test_what_json_cannot_hold_is_a_type_error() -> None:
    """The application's encoder says so."""
    with pytest.raises(TypeError, match="not JSON serializable"):
        Message.of(object(), json.dumps)


def test_each_reader_of_json_has_an_object_of_its_own() -> None:
    """What one listener changes, no other sees."""
    message = Message.of({"a": 1}, json.dumps)

    assert message.data(json.loads) is not message.data(json.loads)


@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536])
@pytest.mark.parametrize("data", ["x", b"x"], ids=["text", "binary"])
def test_a_frame_is_what_a_server_sends(length: int, data: str | bytes) -> None:
    """One whole unmasked frame, its length in as few bytes as possible (RFC 6455, section 5.2)."""
    frame = Message.of(data * length, json.dumps).frame

    assert (0x81 if isinstance(data, str) else 0x82) == frame[0]
    if length < 126:
        head, declared = 2, frame[1]
    elif length < 65536:
        head, declared = 4, struct.unpack_from("!H", frame, 2)[0]
        assert 126 == frame[1]
    else:
        head, declared = 10, struct.unpack_from("!Q", frame, 2)[0]
        assert 127 == frame[1]
    assert (length, b"x" * length) == (declared, frame[head:])


def test_json_is_sent_as_text() -> None:
    """A browser's ``JSON.parse(event.data)`` reads it."""
    assert b'\x81\x08{"a": 1}' == Message.of({"a": 1}, json.dumps).frame


def test_the_frame_is_built_once() -> None:
    """However many members there are."""
    message = Message.of("hello", json.dumps)

    assert message.frame is message.frame


def test_a_message_that_is_too_large_is_refused() -> None:
    """The last size that is accepted, and the first that is not."""
    Message.of(b"x" * MAX_MESSAGE, json.dumps)
    with pytest.raises(RoomMessageTooLarge, match="16777217 bytes"):
        Message.of(b"x" * (MAX_MESSAGE + 1), json.dumps)


@pytest.mark.parametrize("room", ["a", "chat:1", "☃ with spaces\n", "x" * 65535])
def test_a_room_is_any_name(room: str) -> None:
    """What comes out is what went in."""
    assert room == check_room(room)


@pytest.mark.parametrize(
    ("room", "problem"),
    [
        ("", "empty"),
        (b"chat", "not a str"),
        (None, "not a str"),
        (1, "not a str"),
        ("\ud800", "not valid Unicode"),
        ("é" * 32768, "65536 bytes long"),
    ],
)
def test_what_cannot_name_a_room_is_a_named_error(room: object, problem: str) -> None:
    """The sentence says why."""
    with pytest.raises(InvalidRoom, match=problem):
        check_room(room)
