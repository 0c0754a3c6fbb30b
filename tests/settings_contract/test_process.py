"""What gunicorn arranges for its processes is so under this worker too."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

import pytest
from harness import APPS, PATIENCE, Gunicorn, wait_for

from .conftest import OURS, Start

# The application is not named on the command line, and found on the python path alone.
CONFIG = """
import json
import os
import sys
from pathlib import Path

wsgi_app = "settings_app:app"
raw_env = ["SHOP_COLOUR=blue"]
proc_name = "shop"
preload_app = True

def post_worker_init(worker):
    temporary = os.readlink(f"/proc/self/fd/{worker.tmp.fileno()}")
    facts = {
        "colour": os.environ["SHOP_COLOUR"],
        "directory": os.getcwd(),
        "title": Path("/proc/self/cmdline").read_bytes().rstrip(b"\\0").decode(),
        "heartbeat": os.path.dirname(temporary),
        "pidfile": int(Path("master.pid").read_text()) == os.getppid(),
        "preloaded": "settings_app" in sys.modules,
        "workers": worker.cfg.workers,
    }
    print("FACTS", json.dumps(facts), flush=True)
"""


# Read in the worker, when it has become somebody else.
USER = """
import json
import os

user, group, preload_app = "nobody", "daemon", True

def post_worker_init(worker):
    ids = [os.getuid(), os.geteuid(), os.getgid(), os.getegid()]
    print("FACTS", json.dumps({"ids": ids, "groups": sorted(os.getgroups())}), flush=True)
"""


def facts(server: Gunicorn) -> dict:
    """What the first worker has written about itself."""
    [line, *_] = wait_for(lambda: re.findall(r"^FACTS (.*)\n", server.log, re.M), "the facts")
    return json.loads(line)


def options(directory: Path) -> tuple[str, ...]:
    return (
        *("--chdir", str(directory), "--pid", str(directory / "master.pid")),
        *("--worker-tmp-dir", str(directory)),
    )


def test_a_process_is_what_it_is_under_gthread(configured: Start, tmp_path: Path) -> None:
    """Environment, directory, title, heartbeat file and pid file."""
    found = []
    for worker in ("gthread", OURS):
        server = configured(CONFIG, *options(tmp_path), app=None, worker=worker)
        found.append(facts(server))
        server.stop()

    theirs, ours = found
    assert theirs == ours
    assert ("blue", True, True, 1) == tuple(
        ours[name] for name in ("colour", "pidfile", "preloaded", "workers")
    )
    assert "gunicorn: worker [shop]" == ours["title"]
    assert [str(tmp_path)] * 2 == [ours["directory"], ours["heartbeat"]]


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
@pytest.mark.parametrize("initgroups", [False, True])
def test_a_worker_becomes_the_user_that_was_named(configured: Start, initgroups: bool) -> None:
    """``user``, ``group`` and ``initgroups``, with which gunicorn sets groups alone."""
    found = []
    for worker in ("gthread", OURS):
        server = configured(f"{USER}initgroups = {initgroups}\n", worker=worker)
        found.append(facts(server))
        server.stop()

    theirs, ours = found
    user, group = pwd.getpwnam("nobody").pw_uid, grp.getgrnam("daemon").gr_gid
    assert theirs == ours
    assert [user, user] == ours["ids"][:2]
    if initgroups:
        assert group in ours["groups"]
        assert 0 not in ours["groups"]
    else:
        assert [group, group] == ours["ids"][2:]


def test_a_unix_socket_has_the_mode_that_was_asked_for(
    configured: Start, tmp_path: Path, worker: str
) -> None:
    """``umask`` is about what gunicorn makes: its sockets, and the files of a daemon."""
    path = tmp_path / "sock"

    configured("umask = 0o027\n", worker=worker, bind=f"unix:{path}")

    assert 0o750 == path.stat().st_mode & 0o777


def test_without_a_name_the_title_has_the_applications(configured: Start, worker: str) -> None:
    """``default_proc_name`` is what gunicorn was told to serve."""
    server = configured("", worker=worker)

    server.get("/sync")

    assert server.title(server.workers[0]).startswith("gunicorn: worker [settings_app:app]")


def test_a_daemon_serves_and_stops_by_its_pid_file(tmp_path: Path, worker: str) -> None:
    """``daemon``: the command returns at once; ``errorlog`` says how it went."""
    log, pid, config = tmp_path / "error.log", tmp_path / "pid", tmp_path / "ready.conf.py"
    # Before that a signal to the worker may be lost.
    config.write_text("def post_worker_init(worker):\n    worker.log.info('ready')\n")
    command = [
        *(sys.executable, "-m", "gunicorn", "settings_app:app", "-k", worker, "--daemon"),
        *("--pid", str(pid), "--error-logfile", str(log), "--pythonpath", str(APPS)),
        *("--bind", f"unix:{tmp_path}/sock", "--no-control-socket", "--config", str(config)),
    ]

    subprocess.run(command, check=True, timeout=PATIENCE)
    wait_for(lambda: log.exists() and "ready" in log.read_text(), "the worker")
    master = int(pid.read_text())
    os.kill(master, 15)
    wait_for(lambda: "Shutting down: Master" in log.read_text(), "the end")
    wait_for(lambda: not Path(f"/proc/{master}").exists(), "the master's end")

    assert not pid.exists()


def test_gunicornc_looks_into_the_master(tmp_path: Path, worker: str) -> None:
    """``control_socket`` and its mode; with ``control_socket_disable`` there is none."""
    path = tmp_path / "control"
    command = [
        *(sys.executable, "-m", "gunicorn", "settings_app:app", "-k", worker),
        *("--bind", f"unix:{tmp_path}/sock", "--pythonpath", str(APPS)),
        *("--control-socket", str(path), "--control-socket-mode", "0o660"),
    ]
    master = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(path.exists, "the control socket")
        show = [sys.executable, "-m", "gunicorn.ctl.cli", "-s", str(path), "-c", "show workers"]
        result = subprocess.run(show, capture_output=True, text=True, timeout=PATIENCE)
        mode = path.stat().st_mode & 0o777
    finally:
        master.terminate()
        master.wait(PATIENCE)

    assert 0 == result.returncode, result.stderr
    assert "Total: 1" in result.stdout or "1 worker" in result.stdout, result.stdout
    assert 0o660 == mode


def test_the_configuration_can_be_looked_at(worker: str) -> None:
    """gunicorn loads the application, and ends with 0."""
    command = [
        *(sys.executable, "-m", "gunicorn", "settings_app:app", "-k", worker),
        *("--check-config", "--print-config"),
    ]
    # --pythonpath comes too late for these two.
    env = {**os.environ, "PYTHONPATH": str(APPS)}

    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)

    assert 0 == result.returncode, result.stderr
    assert re.search(r"^websocket_max_message_size +=", result.stdout, re.M)


def test_each_line_may_be_traced(configured: Start, tmp_path: Path, worker: str) -> None:
    """``spew`` writes what is executed; the worker serves."""
    # Imported before, so that the trace of all imports need not be written.
    (tmp_path / "sitecustomize.py").write_text("import flask_aiohttp_worker, settings_app\n")
    path = os.pathsep.join([str(tmp_path), str(APPS), os.environ.get("PYTHONPATH", "")])
    server = configured("spew = True\n", worker=worker, env={"PYTHONPATH": path}, listens=False)
    server.wait_for_log("Listening at: http://")
    server.wait_until_listening()

    assert "sync" == server.get("/sync")
    assert re.search(r"^gunicorn\.workers\.base:\d+: +self\.load_wsgi\(\)$", server.log, re.M)


def test_paste_serves_what_pastedeploy_makes(configured: Start, tmp_path: Path) -> None:
    """``paste`` and ``paste_global_conf``: any WSGI application can be served."""
    ini = tmp_path / "app.ini"
    ini.write_text("[app:main]\nuse = call:settings_paste:make\n")
    options = ("--paste", str(ini), "--paste-global", "colour=red")
    server = configured("", *options, app=None)

    assert "colour: red" == server.get("/")
