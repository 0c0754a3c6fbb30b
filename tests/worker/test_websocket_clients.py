"""Clients of other makers talk to a websocket under gunicorn, each in its own way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import picows
import pytest
from harness import PATIENCE, Gunicorn
from websockets.asyncio import client as websockets
from websockets.exceptions import ConnectionClosed

TEXT = "zwölf Boxkämpfer " * 10_000
DATA = bytes(range(256)) * 500
PROTOCOLS = ["talk.v1", "talk.v2"]


async def talk_with_aiohttp(url: str) -> dict[str, Any]:
    """It offers compression, and pings when it is told to."""
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(
            f"{url}/talk", protocols=PROTOCOLS, compress=15, autoping=False
        ) as ws:
            facts: dict[str, Any] = {"protocol": ws.protocol, "compressed": ws.compress == 15}
            await ws.send_str(TEXT)
            facts["text"] = await ws.receive_str()
            await ws.send_bytes(DATA)
            facts["bytes"] = await ws.receive_bytes()
            await ws.ping(b"?")
            pong = await ws.receive()
            facts["pong"] = (pong.type, bytes(pong.data)) == (aiohttp.WSMsgType.PONG, b"?")
            await ws.send_str("close")
            closed = await ws.receive()
            facts["closed"] = (closed.data, closed.extra)
        async with session.ws_connect(f"{url}/pinged") as ws:
            facts["pinged"] = await ws.receive_str()
        async with session.ws_connect(f"{url}/talk") as ws:
            await ws.close(code=4002)
    return facts


async def talk_with_websockets(url: str) -> dict[str, Any]:
    """It offers compression, and sends an iterable as fragments."""
    url = url.replace("http", "ws")
    async with websockets.connect(f"{url}/talk", subprotocols=PROTOCOLS) as ws:  # type: ignore[arg-type]
        extensions = [extension.name for extension in ws.protocol.extensions]
        facts: dict[str, Any] = {
            "protocol": ws.subprotocol,
            "compressed": extensions == ["permessage-deflate"],
        }
        await ws.send(TEXT)
        facts["text"] = await ws.recv()
        await ws.send(DATA)
        facts["bytes"] = await ws.recv()
        await ws.send([TEXT[:10], TEXT[10:50_000], "", TEXT[50_000:]])
        facts["fragments"] = await ws.recv() == TEXT
        facts["pong"] = await asyncio.wait_for(await ws.ping(b"?"), PATIENCE) > 0
        await ws.send("close")
        with pytest.raises(ConnectionClosed) as ended:
            await ws.recv()
        assert ended.value.rcvd is not None
        facts["closed"] = (ended.value.rcvd.code, ended.value.rcvd.reason)
    async with websockets.connect(f"{url}/pinged") as ws:
        facts["pinged"] = await ws.recv()
    async with websockets.connect(f"{url}/talk") as ws:
        await ws.close(4002)
    return facts


class Listener(picows.WSListener):  # type: ignore[misc]
    """Puts what comes into a queue."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: asyncio.Queue[Any] = asyncio.Queue()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        kind = frame.msg_type
        if kind == picows.WSMsgType.CLOSE:
            self.frames.put_nowait((frame.get_close_code(), frame.get_close_reason()))
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        else:
            self.frames.put_nowait(frame.get_payload_as_bytes())


async def talk_with_picows(url: str) -> dict[str, Any]:
    """It knows no compression, and leaves it to its user to put fragments together."""
    url = url.replace("http", "ws")
    offer = {"Sec-WebSocket-Protocol": ", ".join(PROTOCOLS)}
    transport, listener = await picows.ws_connect(Listener, f"{url}/talk", extra_headers=offer)

    async def receive() -> Any:
        return await asyncio.wait_for(listener.frames.get(), PATIENCE)

    facts: dict[str, Any] = {"protocol": transport.response.headers["Sec-WebSocket-Protocol"]}
    facts["compressed"] = "Sec-WebSocket-Extensions" in transport.response.headers
    transport.send(picows.WSMsgType.TEXT, TEXT.encode())
    facts["text"] = (await receive()).decode()
    transport.send(picows.WSMsgType.BINARY, DATA)
    facts["bytes"] = await receive()
    transport.send(picows.WSMsgType.TEXT, TEXT.encode()[:11], fin=False)
    transport.send_ping(b"between fragments")
    transport.send(picows.WSMsgType.CONTINUATION, TEXT.encode()[11:], fin=True)
    facts["pong"] = await receive() == b"between fragments"
    facts["fragments"] = await receive() == TEXT.encode()
    transport.send(picows.WSMsgType.TEXT, b"close")
    facts["closed"] = await receive()
    await transport.wait_disconnected()

    transport, listener = await picows.ws_connect(Listener, f"{url}/pinged")
    facts["pinged"] = (await receive()).decode()
    transport.disconnect()
    transport, _ = await picows.ws_connect(Listener, f"{url}/talk")
    transport.send_close(4002)
    await transport.wait_disconnected()
    return facts


@pytest.mark.parametrize("talk", [talk_with_aiohttp, talk_with_websockets, talk_with_picows])
async def test_client_talks_with_the_server(
    gunicorn: Callable[..., Gunicorn], talk: Callable[..., Any]
) -> None:
    """Text, bytes, fragments, pings in both directions, close codes, subprotocol, compression."""
    server = gunicorn("talking:app")

    facts = await talk(server.url)

    assert (TEXT, DATA) == (facts.pop("text"), facts.pop("bytes"))
    assert {
        "protocol": "talk.v1",
        "compressed": talk is not talk_with_picows,
        "pong": True,
        "closed": (4001, "as you say"),
        "pinged": "still here",
        **({} if talk is talk_with_aiohttp else {"fragments": True}),
    } == facts
    # aiohttp answers each close with 1000.
    answer = 1000 if talk is talk_with_aiohttp else 4001
    assert f"[{answer},4002]\n" == server.get("/codes")
    assert "Traceback" not in server.log
