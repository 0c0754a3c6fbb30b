"""The application of the examples, run in each way, and what it calls."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from harness import APPS, PATIENCE, Gunicorn, wait_for


class Api(BaseHTTPRequestHandler):
    """The external API: answers with the port of the caller, which tells connections apart."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"you call from %d" % self.client_address[1]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(name="api", scope="package")
def _api() -> Iterator[str]:
    """Serve the external API, and return its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


class Program:
    """A server that is no gunicorn, in a process of its own.

    Args:
        arguments: Of Python.
        log_path: Where its output goes.
    """

    def __init__(self, *arguments: str, log_path: Path, env: dict[str, str]) -> None:
        self.log_path = log_path
        with log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(APPS)]), **env},
            )

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Wait until *text* stands in the log, *times* times."""
        wait_for(lambda: self.log.count(text) >= times, f"{text!r} in the log:\n{self.log}")

    def wait_for_url(self) -> str:
        """Return the address that the program prints."""

        def printed() -> re.Match[str] | None:
            assert self.process.poll() is None, self.log
            return re.search(r"Running on (http://[\w.]+:\d+)", self.log)

        return wait_for(printed, "the program's address")[1]

    def stop(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()


class Running:
    """The examples as they run: where, and what they have written."""

    def __init__(self, url: str, server: Gunicorn | Program, workers: int) -> None:
        self.url = url
        self.server = server
        self.workers = workers


def environment(api: str) -> dict[str, str]:
    return {"CLASSIC_DELAY": "0.01", "CLASSIC_API": api}


def run(way: str, directory: Path, api: str) -> Iterator[Running]:
    """Run the examples, and end them."""
    env = environment(api)
    if way in ("worker", "aiohttp worker"):
        name, worker = {
            "worker": ("classic:app", "flask_aiohttp_worker.Worker"),
            "aiohttp worker": ("classic:aiohttp_app", "aiohttp.GunicornWebWorker"),
        }[way]
        gunicorn = Gunicorn(name, "--workers", "2", directory=directory, worker=worker, env=env)
        try:
            gunicorn.wait_until_listening()
            gunicorn.wait_for_log("Booting worker", times=2)
            yield Running(gunicorn.url, gunicorn, 2)
            assert 0 == gunicorn.stop(), gunicorn.log
        finally:
            gunicorn.kill()
    else:
        arguments = {
            "aio.run": (str(APPS / "classic.py"),),
            "flask run": ("-m", "flask", "--app", "classic", "run", "--port", "0"),
        }[way]
        program = Program(*arguments, log_path=directory / "program.log", env=env)
        try:
            yield Running(program.wait_for_url(), program, 1)
        finally:
            program.stop()


@pytest.fixture(name="server", scope="package", params=["worker", "aiohttp worker", "aio.run"])
def _server(
    request: pytest.FixtureRequest, api: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Run the examples in each of the ways that have websockets."""
    yield from run(request.param, tmp_path_factory.mktemp("classic"), api)


@pytest.fixture(name="flask_run", scope="package")
def _flask_run(api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the examples by ``flask run``."""
    yield from run("flask run", tmp_path_factory.mktemp("classic"), api)
