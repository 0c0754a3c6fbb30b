"""A worker that cannot start stops gunicorn, with a reason that helps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import APPS, PATIENCE, Gunicorn

from flask_aiohttp_worker import _worker

PRELOAD_CONFIG = """
import asyncio
import gc
import os
import threading

def pre_fork(server, worker):
    loops = [o for o in gc.get_objects() if isinstance(o, asyncio.AbstractEventLoop)]
    print("threads before the fork:", len(os.listdir("/proc/self/task")), flush=True)
    print("loops before the fork:", len(loops), flush=True)
"""

EMBEDDING = """
import sys
from gunicorn.app.base import BaseApplication
import worker_loading

class Program(BaseApplication):
    def load_config(self):
        self.cfg.set("bind", "127.0.0.1:0")
        self.cfg.set("worker_class", "flask_aiohttp_worker.Worker")
        self.cfg.set("control_socket_disable", True)

    def load(self):
        return getattr(worker_loading, sys.argv[1])

Program().run()
"""


def test_a_start_hook_that_fails_stops_gunicorn(gunicorn: Callable[..., Gunicorn]) -> None:
    """A failing on_startup ends gunicorn with its traceback; no worker is tried again."""
    server = gunicorn("worker_boot:failing")

    code = server.wait()

    assert 3 == code
    assert "ConnectionRefusedError: no database at db.example:5432" in server.log
    assert "Traceback (most recent call last)" in server.log
    assert 1 == server.log.count("Booting worker")


def test_a_start_that_fails_ends_what_it_had_begun(gunicorn: Callable[..., Gunicorn]) -> None:
    """What a lifespan opened before the failure is closed; on_shutdown has nothing to stop."""
    server = gunicorn("worker_boot:failing")

    server.wait()

    assert server.log.index("lifespan: begun") < server.log.index("lifespan: ended")
    assert "hook: shutdown" not in server.log


def test_a_setting_that_cannot_be_used_stops_gunicorn(gunicorn: Callable[..., Gunicorn]) -> None:
    """A bad value in the Flask configuration is named, with what it must be."""
    server = gunicorn("worker_boot:badly_set")

    code = server.wait()

    assert 3 == code
    assert "AIOHTTP_THREADS is 'many', but must be a whole number" in server.log


def test_the_uwsgi_protocol_is_refused(gunicorn: Callable[..., Gunicorn]) -> None:
    """The worker speaks HTTP only, and says so before it forks."""
    server = gunicorn("worker_demo:app", "--protocol", "uwsgi")

    code = server.wait()

    assert 1 == code
    assert "speaks HTTP, not 'uwsgi': remove the setting 'protocol'" in server.log
    assert "Booting worker" not in server.log


@pytest.fixture(name="without_extension")
def _without_extension(tmp_path: Path) -> dict[str, str]:
    """An environment in which aiohttp's C parser cannot be imported, as after a bad build."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\nsys.modules['aiohttp._http_parser'] = None\n"
    )
    path = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(path)}


def test_aiohttp_without_its_extension_is_refused(
    gunicorn: Callable[..., Gunicorn], without_extension: dict[str, str]
) -> None:
    """A missing C parser is an accident until somebody says it is meant."""
    server = gunicorn("worker_demo:app", env=without_extension)

    code = server.wait()

    assert 1 == code
    assert "aiohttp runs without its C extension" in server.log
    assert "set AIOHTTP_NO_EXTENSIONS=1" in server.log
    assert "Booting worker" not in server.log


def test_aiohttp_without_its_extension_is_a_warning_where_it_is_meant(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """With AIOHTTP_NO_EXTENSIONS set, the worker warns and serves."""
    server = gunicorn("worker_demo:app", env={"AIOHTTP_NO_EXTENSIONS": "1"})

    answer = server.get("/async")

    assert answer.startswith("loop ")
    assert "[WARNING] aiohttp runs without its C extension" in server.log


def test_nothing_runs_before_the_fork_of_a_preloaded_application(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    """Preloading makes no thread and no event loop in the master, and the workers serve."""
    config = tmp_path / "preload.py"
    config.write_text(PRELOAD_CONFIG)
    server = gunicorn("worker_demo:app", "--preload", "--workers", "2", "--config", str(config))

    server.wait_for_workers(2)

    assert ("thread", "loop") == (server.get("/sync").split()[0], server.get("/async").split()[0])
    assert 2 == server.log.count("threads before the fork: 1\n")
    assert 2 == server.log.count("loops before the fork: 0\n")


@pytest.mark.parametrize(
    "name, sign, number",
    [
        ("slow()", "importing", signal.SIGINT),
        ("hanging", "starting", signal.SIGINT),
        ("hanging", "starting", signal.SIGTERM),
    ],
)
def test_a_slow_start_can_be_broken_off(
    gunicorn: Callable[..., Gunicorn], name: str, sign: str, number: int
) -> None:
    """A worker that still imports the application or runs its start hooks ends at once."""
    server = gunicorn(f"worker_boot:{name}")
    server.wait_for_log(sign)

    code = server.stop(number)

    assert 0 == code
    assert "SIGKILL" not in server.log


def test_a_program_that_embeds_gunicorn_is_told_what_is_wrong(tmp_path: Path) -> None:
    """gunicorn's BaseApplication has no name for what it loads; the program's own stands in."""
    program = tmp_path / "program.py"
    program.write_text(EMBEDDING)

    result = subprocess.run(
        [sys.executable, str(program), "not_callable"],
        env={**os.environ, "PYTHONPATH": f"{APPS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )

    assert 4 == result.returncode
    assert "'Program' is 42, which cannot be called. Name a Flask" in result.stderr


def test_uvloop_that_was_asked_for_and_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """asgi_loop=uvloop without uvloop says what to install; auto goes without."""
    monkeypatch.setitem(sys.modules, "uvloop", None)

    with pytest.raises(RuntimeError, match=r"pip install flask-aiohttp-worker\[uvloop\]"):
        _worker._new_loop("uvloop")
    loop = _worker._new_loop("auto")
    loop.close()

    assert "asyncio" == type(loop).__module__.partition(".")[0]
