"""A worker is replaced when the settings say."""

from __future__ import annotations

import re
from pathlib import Path

from harness import wait_for

from .conftest import Start

SAY_LIMIT = """
max_requests, max_requests_jitter = 4, 3

def post_worker_init(worker):
    print(f"LIMIT {worker.max_requests} of {worker.pid}", flush=True)
"""


def test_a_worker_serves_so_many_requests(configured: Start, worker: str) -> None:
    """``max_requests`` and up to ``max_requests_jitter`` more; the last one is answered."""
    server = configured(SAY_LIMIT, worker=worker)
    [limit, pid] = wait_for(
        lambda: re.findall(r"^LIMIT (\d+) of (\d+)\n", server.log, re.M), "the limit"
    )[0]

    pids = [server.get("/where").split()[1] for _ in range(int(limit))]

    assert 4 <= int(limit) <= 7
    assert [pid] * int(limit) == pids
    # One that has connected before the old worker stopped accepting is still answered by it.
    wait_for(lambda: server.get("/where").split()[1] != pid, "the next worker")


def test_a_file_besides_the_modules_is_watched(
    configured: Start, tmp_path: Path, worker: str
) -> None:
    """``reload``, ``reload_extra_files`` and ``reload_engine``."""
    extra = tmp_path / "templates.txt"
    extra.write_text("old")
    server = configured(
        f"reload, reload_engine, reload_extra_files = True, 'poll', [{str(extra)!r}]\n",
        worker=worker,
    )
    old = server.get("/where").split()[1]

    def noticed() -> bool:
        # What is written before the reloader's first look is not new to it.
        extra.write_text("new")
        return f"Worker reloading: {extra} modified" in server.log

    wait_for(noticed, "the reloader")
    server.wait_for_log("Booting worker", times=2)

    assert old != wait_for(lambda: server.get("/where").split()[1], "an answer")
