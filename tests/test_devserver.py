"""``aio.run()``: the server for local work, as a process that somebody starts and interrupts."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from harness import PATIENCE, eventually, wait_for

APPLICATION = """
import asyncio
import os
import sys
import time

from flask import Flask, Response
from flask_aiohttp import AioHTTP, await_, websocket

app = Flask(__name__)
aio = AioHTTP(app)

@aio.on_startup
async def start():
    print("hook: startup", os.getpid(), flush=True)

@aio.on_shutdown
async def stop():
    await asyncio.sleep(0.5)  # as a pool takes its time to close
    print("hook: shutdown", os.getpid(), flush=True)

@app.route("/")
async def index():
    return "version 1"

@app.route("/ws")
@websocket
async def ws():
    async for message in aio.ws:
        await aio.ws.send_str(message.data)

@app.route("/stream")
async def stream():
    def parts():
        while True:
            yield "more"
            await_(asyncio.sleep(0.01))
    return Response(parts())

@app.route("/block")
async def block():
    while True:
        print("blocking", flush=True)
        time.sleep(0.01)

@app.route("/fail-sync")
def fail_sync():
    local = 6 * 7
    raise LookupError(f"sync {local}")

@app.route("/fail-async")
async def fail_async():
    local = 6 * 7
    await asyncio.sleep(0)
    raise LookupError(f"async {local}")

@app.route("/fail-ws")
@websocket
async def fail_ws():
    raise LookupError("before the handshake")

if __name__ == "__main__":
    aio.run(app, port=int(sys.argv[1]), debug="debug" in sys.argv)
"""


class Program:
    """The application above as a program of its own, in a process group of its own."""

    def __init__(self, directory: Path, *arguments: str, port: int = 0, **env: str) -> None:
        self.source = directory / "program.py"
        if not self.source.exists():
            self.source.write_text(APPLICATION)
        self._log = directory / "program.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(self.source), str(port), *arguments],
                stdout=log,
                stderr=log,
                start_new_session=True,
                # A background shell lets its children ignore SIGINT.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env},
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for_log(self, text: str, times: int = 1) -> None:
        wait_for(lambda: self.log.count(text) >= times, f"{text!r} in the log:\n{self.log}")

    def wait_until_serving(self) -> int:
        """Wait for the address, and return its port."""
        self.wait_for_log("Running on http://127.0.0.1:")
        return int(re.findall(r"Running on http://127\.0\.0\.1:(\d+) ", self.log)[0])

    def get(self, path: str, cookie: str = "") -> tuple[int, http.client.HTTPMessage, str]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.wait_until_serving(), timeout=PATIENCE
        )
        try:
            connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
            response = connection.getresponse()
            return response.status, response.headers, response.read().decode()
        finally:
            connection.close()

    def press_ctrl_c(self) -> None:
        """Interrupt the whole group, as a terminal does."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it whatever it does, its children included."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()


@pytest.fixture(name="start")
def _start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    started: list[Program] = []

    def start(*arguments: str, **kwargs: object) -> Program:
        program = Program(tmp_path, *arguments, **kwargs)
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()


MODES = pytest.mark.parametrize("mode", [(), ("debug",)], ids=["plain", "debug"])


def test_it_prints_its_address_and_serves(start: Callable[..., Program]) -> None:
    """The terminal says where to look, and requests are logged there."""
    program = start()

    status, _, text = program.get("/")
    program.wait_for_log("GET / 200")

    assert (200, "version 1") == (status, text)


@MODES
async def test_ctrl_c_ends_websockets_and_streams_and_runs_the_hooks(
    start: Callable[..., Program], mode: tuple[str, ...]
) -> None:
    """A page left open does not keep the server; a stop hook that takes its time is waited for."""
    program = start(*mode)
    port = await asyncio.to_thread(program.wait_until_serving)

    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        session.ws_connect("/ws") as ws,
        session.get("/stream") as stream,
    ):
        await stream.content.readexactly(4)
        await ws.send_str("hello")
        await ws.receive_str()
        program.press_ctrl_c()
        message = await ws.receive()
        with pytest.raises(aiohttp.ClientError):
            await stream.read()
    code = await asyncio.to_thread(program.wait)

    assert aiohttp.WSCloseCode.GOING_AWAY == message.data
    assert 0 == code
    assert 1 == program.log.count("hook: shutdown")
    assert "Traceback" not in program.log


def test_a_second_ctrl_c_ends_a_view_that_blocks_the_loop(
    start: Callable[..., Program],
) -> None:
    """The loop's own handlers would never run: the first waits for the view, the next does not."""
    program = start()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(program.get, "/block")
        program.wait_for_log("blocking")
        program.press_ctrl_c()
        # Python has run its handler when the view has gone on for two steps.
        program.wait_for_log("blocking", program.log.count("blocking") + 2)
        program.press_ctrl_c()
        assert isinstance(answer.exception(), http.client.HTTPException | ConnectionError)

    assert 0 == program.wait()
    assert "Traceback" not in program.log


@MODES
def test_sigterm_is_a_stop_as_well(start: Callable[..., Program], mode: tuple[str, ...]) -> None:
    """Whoever stops the process from outside, an editor for example, gets the hooks run too."""
    program = start(*mode)
    program.get("/")

    program.process.terminate()
    code = program.wait()

    assert 0 == code
    assert 1 == program.log.count("hook: shutdown")


@MODES
def test_a_port_in_use_is_named(start: Callable[..., Program], mode: tuple[str, ...]) -> None:
    """A sentence that says what to do, and code 1, instead of a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        program = start(*mode, port=port)
        code = program.wait()

    assert 1 == code
    assert f"port {port} is in use by another program" in program.log
    assert f"aio.run(app, port={port + 1})" in program.log
    assert "Traceback" not in program.log


def test_a_start_hook_that_fails_ends_the_program(
    start: Callable[..., Program], tmp_path: Path
) -> None:
    """Without a reloader there is nothing to wait for."""
    source = APPLICATION.replace('print("hook: startup"', 'raise LookupError("no database") #')
    (tmp_path / "program.py").write_text(source)
    program = start()

    code = program.wait()

    assert 1 == code
    assert "LookupError: no database" in program.log


def test_a_change_is_served_on_the_same_socket(start: Callable[..., Program]) -> None:
    """The reloader's child is replaced after its hooks have run; the port stays open meanwhile."""
    program = start("debug")
    assert "version 1" == program.get("/")[2]

    program.source.write_text(APPLICATION.replace("version 1", "version 2"))

    def is_changed() -> bool:
        return program.get("/")[2] == "version 2"

    wait_for(is_changed, "the new version")

    assert 1 == program.log.count("Running on")
    assert 1 == program.log.count("hook: shutdown")
    assert 2 == program.log.count("hook: startup")


def test_the_debugger_evaluates_in_the_frame_of_the_view(start: Callable[..., Program]) -> None:
    """Werkzeug's page comes for sync and async views, and its console knows their variables."""
    program = start("debug", WERKZEUG_DEBUG_PIN="off")

    for kind in ("sync", "async"):
        status, _, page = program.get(f"/fail-{kind}")
        [secret] = re.findall(r'SECRET = "(\w+)"', page)
        frame = re.findall(r'id="frame-(\d+)"', page)[-1]
        query = f"__debugger__=yes&cmd={quote('local * 100')}&frm={frame}&s={secret}"
        _, _, answer = program.get(f"/?{query}")

        assert 500 == status
        assert f"LookupError: {kind} 42" in page
        assert "4200" in answer


def test_the_debugger_asks_for_the_pin_of_the_terminal(start: Callable[..., Program]) -> None:
    """Who does not see the terminal evaluates nothing."""
    program = start("debug")
    _, _, page = program.get("/fail-async")
    [secret] = re.findall(r'SECRET = "(\w+)"', page)
    frame = re.findall(r'id="frame-(\d+)"', page)[-1]
    evaluate = f"/?__debugger__=yes&cmd=local&frm={frame}&s={secret}"
    [pin] = re.findall(r"Debugger PIN: ([\d-]+)", program.log)

    _, _, refused = program.get(evaluate)
    _, headers, answer = program.get(f"/?__debugger__=yes&cmd=pinauth&pin={pin}&s={secret}")
    cookie = headers["Set-Cookie"].partition(";")[0]
    _, _, allowed = program.get(evaluate, cookie=cookie)

    assert "version 1" == refused
    assert '"auth": true' in answer
    assert "42" in allowed


async def test_the_debugger_shows_what_failed_before_a_handshake(
    start: Callable[..., Program],
) -> None:
    """A websocket view that raises before it uses its socket answers with the debugger's page."""
    program = start("debug")
    port = await asyncio.to_thread(program.wait_until_serving)
    request = (
        f"GET /fail-ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )

    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request.encode())
    answer = (await reader.read()).decode()
    writer.close()
    await eventually(lambda: "GET /fail-ws 500" in program.log, "the log")

    assert answer.startswith("HTTP/1.1 500 ")
    assert "LookupError: before the handshake" in answer
    assert "SECRET = " in answer


def test_without_debug_nothing_is_shown(start: Callable[..., Program]) -> None:
    """A plain run answers 500 and keeps the traceback in the terminal."""
    program = start()

    status, _, page = program.get("/fail-async")

    assert 500 == status
    assert "SECRET" not in page
    assert "LookupError" not in page
    program.wait_for_log("LookupError: async 42")


def test_what_it_takes_from_werkzeug_is_there() -> None:
    """The reloader is private; the day it goes, aio.run() goes without, and this says so."""
    from werkzeug._reloader import _get_args_for_reloading, run_with_reloader
    from werkzeug.debug import DebuggedApplication

    assert callable(run_with_reloader)
    assert callable(_get_args_for_reloading)
    assert callable(DebuggedApplication)
