"""gunicorn's hooks of master and worker are called when they are called under gthread."""

from __future__ import annotations

import os
import re
from pathlib import Path
from signal import SIGHUP, SIGTERM, SIGTTIN, SIGUSR2

from harness import Gunicorn, wait_for

from .conftest import OURS, Start

# Each writes its name and whether it was called in the master.
NAMES = {
    "on_starting": "server",
    "on_reload": "server",
    "when_ready": "server",
    "pre_fork": "server, worker",
    "post_fork": "server, worker",
    "post_worker_init": "worker",
    "worker_int": "worker",
    "pre_exec": "server",
    "child_exit": "server, worker",
    "worker_exit": "server, worker",
    "nworkers_changed": "server, new, old",
    "on_exit": "server",
}
CONFIG = "import os\nMASTER = os.getpid()\n" + "\n".join(
    f"def {name}({arguments}):\n"
    f"    place = 'master' if os.getpid() == MASTER else 'child'\n"
    f"    print(f'HOOK {name} in the {{place}}', flush=True)\n"
    for name, arguments in NAMES.items()
)


def said(server: Gunicorn) -> list[str]:
    return re.findall(r"^HOOK (.*)\n", server.log, re.M)


def life(server: Gunicorn) -> list[list[str]]:
    """Start, one more worker, reload and stop; return what was said at each."""
    parts = []
    seen = 0

    def wait_for_part(*done: str) -> None:
        nonlocal seen
        wait_for(lambda: not set(done) - set(said(server)[seen:]), f"{done}: {server.log}")
        parts.append(sorted(said(server)[seen:]))
        seen = len(said(server))

    wait_for_part("post_worker_init in the child")
    server.get("/sync")
    server.signal(SIGHUP)
    wait_for_part("post_worker_init in the child", "child_exit in the master")
    server.signal(SIGTTIN)
    wait_for_part("post_worker_init in the child")
    server.stop()
    wait_for_part("on_exit in the master")
    return parts


def test_the_hooks_are_called_at_the_same_steps_of_a_life(configured: Start) -> None:
    """In the same process, and as often."""
    theirs, ours = (life(configured(CONFIG, worker=worker)) for worker in ("gthread", OURS))

    assert theirs == ours


def test_pre_exec_is_called_before_another_master(
    configured: Start, tmp_path: Path, worker: str
) -> None:
    """USR2 starts a second gunicorn on the same sockets, which serves as well."""
    server = configured(CONFIG, "--pid", str(tmp_path / "pid"), worker=worker)
    wait_for(lambda: "post_worker_init in the child" in said(server), "the worker")

    server.signal(SIGUSR2)
    wait_for(lambda: said(server).count("post_worker_init in the child") == 2, "its worker")
    second = int((tmp_path / "pid.2").read_text())
    server.stop()
    answer = server.get("/sync")

    assert "pre_exec in the child" in said(server)
    assert "sync" == answer
    os.kill(second, SIGTERM)
    wait_for(lambda: not Path(f"/proc/{second}").exists(), "its end")
