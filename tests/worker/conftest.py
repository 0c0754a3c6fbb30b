"""What the worker's tests share: a configuration file, files that end requests, a certificate."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HOOKS = """
def say(text):
    print(text, flush=True)

def worker_int(worker):
    say(f"hook: worker_int {worker.pid}")

def worker_abort(worker):
    say(f"hook: worker_abort {worker.pid}")

def worker_exit(server, worker):
    say(f"hook: worker_exit {worker.pid}")

def post_worker_init(worker):
    say(f"hook: post_worker_init {worker.pid}")

def child_exit(server, worker):
    say(f"hook: child_exit {worker.pid}")
"""


@pytest.fixture(name="hooks")
def _hooks(tmp_path: Path) -> str:
    """The path of a configuration file whose hooks write their name and the worker to the log."""
    path = tmp_path / "hooks.py"
    path.write_text(HOOKS)
    return str(path)


class Release:
    """Ends the requests that were given ``path`` as "until"."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> None:
        """End them, those that come later included."""
        self.path.touch()


@pytest.fixture(name="release")
def _release(tmp_path: Path) -> Iterator[Release]:
    """Let requests to views that hold end; at the end of the test they end in any case."""
    release = Release(tmp_path / "released")
    yield release
    release()


@pytest.fixture(name="certificate")
def _certificate(tmp_path: Path, require: Callable[[str], str]) -> tuple[str, str]:
    """The paths of a certificate for 127.0.0.1 and of its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        *(require("openssl"), "req", "-x509", "-nodes", "-days", "1"),
        *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-subj", "/CN=flask-aiohttp test", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(key), "-out", str(certificate)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return str(certificate), str(key)
