"""A browser's own websocket talks to one under gunicorn."""

from __future__ import annotations

from collections.abc import Callable

from chromium import Chromium, connect
from harness import Gunicorn

TALK = """
    const socket = (path, protocols = []) => {
        const made = new WebSocket(`ws://${location.host}${path}`, protocols);
        made.binaryType = "arraybuffer";
        made.opened = new Promise((resolve) => { made.onopen = resolve; });
        made.next = () => new Promise((resolve) => {
            made.onmessage = ({data}) => resolve(data);
            made.onclose = ({code, reason, wasClean}) => resolve([code, reason, wasClean]);
        });
        return made;
    };
    const facts = {};

    const ws = socket("/talk", ["talk.v1", "talk.v2"]);
    await ws.opened;
    [facts.protocol, facts.extensions] = [ws.protocol, ws.extensions];

    // Large enough for the browser to send it in more than one frame.
    const text = "zwölf Boxkämpfer ".repeat(50000);
    ws.send(text);
    facts.text = await ws.next() === text;

    const data = new Uint8Array(1 << 20).map((_, index) => index % 251);
    ws.send(data);
    const echoed = new Uint8Array(await ws.next());
    facts.bytes = data.length === echoed.length && data.every((one, at) => one === echoed[at]);

    ws.send("close");
    facts.closed = await ws.next();

    const pinged = socket("/pinged");
    facts.pinged = await pinged.next();
    pinged.close();

    const left = socket("/talk");
    await left.opened;
    left.close(4002, "enough");
    facts.left = await left.next();

    const refused = socket("/codes");
    facts.refused = await refused.next();
    return facts;
"""


async def test_page_talks_with_the_server(
    chromium: Chromium, gunicorn: Callable[..., Gunicorn]
) -> None:
    """Text, bytes, pings, close codes, subprotocol, compression; and a refusal is a clean end."""
    server = gunicorn("talking:app")
    async with connect(chromium) as browser:
        page = await browser.window()
        await page.open(server.url)

        facts = await page.run(TALK)

    assert {
        "protocol": "talk.v1",
        "extensions": "permessage-deflate",
        "text": True,
        "bytes": True,
        "closed": [4001, "as you say", True],
        "pinged": "still here",
        "left": [4002, "", True],
        "refused": [1006, "", False],
    } == facts
    assert "[4001,4002]\n" == server.get("/codes")
    assert "Traceback" not in server.log
