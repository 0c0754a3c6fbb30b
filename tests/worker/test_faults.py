"""What the system refuses for a while is survived: file descriptors, and room on a disk.

strace makes the worker's calls fail.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import give_up
from harness import PATIENCE, Gunicorn, wait_for

from .conftest import Release


class Fault:
    """Lets calls of one process fail.

    Args:
        strace: The program.
        pid: The process.
        options: Which calls fail, and how, in the words of strace.
        directory: For what strace writes.
    """

    def __init__(self, strace: str, pid: int, *options: str, directory: Path) -> None:
        self._record = directory / "strace"
        self._said = directory / "strace.err"
        command = [strace, "-f", "-o", str(self._record), *options, "-p", str(pid)]
        with self._said.open("wb") as stderr:
            self._process = subprocess.Popen(command, stderr=stderr)
        wait_for(lambda: "attached" in self.said or self._process.poll() is not None, "strace")
        if "not permitted" in self.said or "denied" in self.said:
            give_up(f"this machine lets no process trace another one: {self.said}")
        assert self._process.poll() is None, self.said

    @property
    def said(self) -> str:
        """What strace itself has to say."""
        return self._said.read_text()

    @property
    def number(self) -> int:
        """How many calls have failed."""
        return self._record.read_text().count("(INJECTED)")

    def stop(self) -> None:
        """Let all calls work again."""
        self._process.terminate()
        self._process.wait(PATIENCE)


@pytest.fixture(name="fault")
def _fault(require: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., Fault]]:
    """Let calls of a process fail, until the end of the test at most."""
    strace = require("strace")
    with contextlib.ExitStack() as stack:

        def begin(pid: int, *options: str) -> Fault:
            fault = Fault(strace, pid, *options, directory=tmp_path)
            stack.callback(fault.stop)
            return fault

        yield begin


LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


def on(loop: str) -> tuple[str, str]:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    return "--asgi-loop", loop


@LOOPS
@pytest.mark.parametrize("error", ["EMFILE", "ENFILE", "ENOBUFS", "ECONNABORTED"])
def test_a_connection_that_cannot_be_accepted_waits(
    gunicorn: Callable[..., Gunicorn],
    fault: Callable[..., Fault],
    release: Release,
    loop: str,
    error: str,
) -> None:
    """Out of file descriptors, the worker goes on with what it has, and accepts again later."""
    server = gunicorn("worker_demo:app", *on(loop))
    [pid] = server.wait_for_workers()
    answers = [server.request_in_thread(f"/hold?until={release.path}")]
    server.wait_for_log("held")

    refusing = fault(
        pid, "-e", "trace=accept,accept4", "-e", f"inject=accept,accept4:error={error}:when=1..3"
    )
    answers += [server.request_in_thread("/async") for _ in range(3)]
    wait_for(lambda: refusing.number, "a refused connection")
    release()
    texts = [answer.result() for answer in answers]

    assert [200] * 4 == [status for status, _, _ in texts]
    assert "released" == texts[0][2]
    assert [pid] == server.workers
    assert refusing.number


@LOOPS
def test_a_full_disk_costs_lines_of_the_log_and_no_request(
    gunicorn: Callable[..., Gunicorn], fault: Callable[..., Fault], tmp_path: Path, loop: str
) -> None:
    """While no log can be written, requests are answered; afterwards the log goes on."""
    log = tmp_path / "access.log"
    options = ("--access-logfile", str(log), "--access-logformat", "%(U)s %(s)s")
    server = gunicorn("worker_demo:app", *options, *on(loop))
    [pid] = server.wait_for_workers()
    server.get("/async?before")

    full = fault(pid, "-P", str(log), "-e", "inject=write:error=ENOSPC")
    during = [server.get(path) for path in ("/async", "/sync", "/async")]
    wait_for(lambda: full.number >= len(during), "the lines that could not be written")
    full.stop()
    server.get("/environ")

    assert [pid] == server.workers
    wait_for(lambda: "/environ 200" in log.read_text(), "the line of the last request")


def test_a_full_disk_does_not_keep_a_failure_from_being_answered(
    gunicorn: Callable[..., Gunicorn], fault: Callable[..., Fault]
) -> None:
    """A view that fails is answered with 500, also where its traceback cannot be written."""
    server = gunicorn("worker_demo:app")
    [pid] = server.wait_for_workers()

    full = fault(pid, "-P", str(server.log_path), "-e", "inject=write:error=ENOSPC")
    statuses = [server.request(path)[0] for path in ("/exit-sync", "/exit-async", "/async")]

    assert [500, 500, 200] == statuses
    wait_for(lambda: full.number, "a line that could not be written")
    assert [pid] == server.workers


def test_a_worker_that_cannot_tell_that_it_lives_is_replaced(
    gunicorn: Callable[..., Gunicorn], fault: Callable[..., Fault], hooks: str
) -> None:
    """A heartbeat that fails is no reason to hang: the worker ends, and the next one serves."""
    server = gunicorn("worker_demo:app", "--config", hooks)
    [pid] = server.wait_for_workers()

    fault(pid, "-e", "trace=utimensat", "-e", "inject=utimensat:error=EIO")
    server.wait_for_log(f"hook: worker_exit {pid}")
    wait_for(lambda: pid not in server.workers, "the old worker's end")
    [new] = server.wait_for_workers()

    assert f"loop {new}" == server.get("/async")
    assert "Input/output error" in server.log
