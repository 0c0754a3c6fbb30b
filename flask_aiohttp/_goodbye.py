"""Close the websockets of a server that stops, a few at a time.

All at once they would also come back at once, to whoever serves them next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiohttp import WSCloseCode

from ._opening import OpeningWebSocket

__all__ = ("say_goodbye",)

# Seconds between one websocket and the next, where the spread leaves so much.
_PAUSE = 0.01


async def say_goodbye(
    websockets: Iterable[OpeningWebSocket], code: int = WSCloseCode.GOING_AWAY, spread: float = 0.0
) -> None:
    """Close *websockets*, and wait until their clients have said goodbye too.

    Args:
        websockets: Those that are open.
        code: What their clients are told (RFC 6455, section 7.4).
        spread: Seconds within which all of them have been told.
    """
    told = list(websockets)
    pause = min(_PAUSE, spread / len(told)) if told else 0.0
    closing = []
    try:
        for websocket in told:
            closing.append(
                asyncio.create_task(
                    websocket.close(code=code, message=b"server stops"), name="close websocket"
                )
            )
            if pause:
                await asyncio.sleep(pause)
        if closing:
            await asyncio.wait(closing)
    finally:
        for task in closing:
            task.cancel()
