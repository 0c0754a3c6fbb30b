"""Both logs go where the configuration says, in the form it says."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM, SIGUSR1

import pytest
from harness import APPS, PATIENCE, wait_for

from .conftest import Start

# What a request to /sync looks like with this format.
FORMAT = "access_log_format = 'LINE %(m)s %(U)s %(s)s %(B)s'\n"
LINE = "LINE GET /sync 200 4\n"

# The same configuration of the access log's logger, for a file of its own.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "formatted %(message)s"}},
    "handlers": {
        "file": {"class": "logging.FileHandler", "filename": "PATH", "formatter": "plain"},
        "console": {"class": "logging.StreamHandler"},
    },
    "loggers": {
        "gunicorn.access": {"level": "INFO", "handlers": ["file"], "propagate": False},
        "gunicorn.error": {"level": "INFO", "handlers": ["console"], "propagate": False},
    },
}
INI = """
[loggers]
keys = root, gunicorn.access
[handlers]
keys = file
[formatters]
keys = plain
[logger_root]
handlers =
[logger_gunicorn.access]
level = INFO
handlers = file
propagate = 0
qualname = gunicorn.access
[handler_file]
class = FileHandler
formatter = plain
args = ("PATH",)
[formatter_plain]
format = formatted %(message)s
"""


def wait_for_text(path: Path, text: str) -> None:
    """Wait until *path* contains *text*."""
    wait_for(lambda: path.exists() and text in path.read_text(), f"{text!r} in {path}")


def test_a_file_is_written_and_opened_anew_after_usr1(
    configured: Start, tmp_path: Path, worker: str
) -> None:
    """Whoever rotates logs moves the file and sends USR1 to the master."""
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    server = configured(f"accesslog = {str(path)!r}\n{FORMAT}", worker=worker)
    server.get("/sync")
    wait_for_text(path, LINE)

    path.rename(moved)
    server.signal(SIGUSR1)
    wait_for(lambda: path.exists() and server.get("/sync") and path.read_text(), "the new file")

    assert LINE == path.read_text()[: len(LINE)]


@pytest.mark.parametrize("form", ["logconfig", "logconfig_dict", "logconfig_json"])
def test_a_configuration_of_loggings_own_turns_the_access_log_on(
    configured: Start, tmp_path: Path, worker: str, form: str
) -> None:
    """Each of gunicorn's three forms, without ``accesslog``."""
    path, file = tmp_path / "access.log", tmp_path / "logging"
    as_json = json.dumps(LOGGING).replace("PATH", str(path))
    file.write_text(as_json if form == "logconfig_json" else INI.replace("PATH", str(path)))
    value = json.loads(as_json) if form == "logconfig_dict" else str(file)
    server = configured(f"{form} = {value!r}\n{FORMAT}", worker=worker)

    server.get("/sync")

    wait_for_text(path, f"formatted {LINE}")


@pytest.fixture(name="syslog")
def _syslog() -> Iterator[socket.socket]:
    """A socket that listens in place of syslog."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        yield sock


def test_syslog_is_sent_both_logs(configured: Start, syslog: socket.socket, worker: str) -> None:
    """With the prefix and the facility that were given."""
    server = configured(
        f"syslog = True\nsyslog_addr = 'udp://127.0.0.1:{syslog.getsockname()[1]}'\n"
        f"syslog_prefix = 'shop'\nsyslog_facility = 'local3'\n{FORMAT}",
        worker=worker,
    )
    server.get("/sync")

    received = ""
    while "LINE" not in received:
        received += syslog.recv(4096).decode()

    # Facility 19, severity 6: <158>.
    assert re.search(r"<158>gunicorn\.shop\.error: \[\d+\] Booting worker", received)
    assert re.search(r"<158>gunicorn\.shop\.access: \[\d+\] LINE GET /sync 200 4", received)


def test_the_access_log_may_be_kept_from_syslog(
    configured: Start, syslog: socket.socket, worker: str
) -> None:
    """``disable_redirect_access_to_syslog`` leaves the error log there."""
    server = configured(
        f"syslog = True\nsyslog_addr = 'udp://127.0.0.1:{syslog.getsockname()[1]}'\n"
        f"disable_redirect_access_to_syslog = True\n{FORMAT}",
        worker=worker,
    )
    server.get("/sync")
    server.stop()

    received = ""
    while "Shutting down" not in received:
        received += syslog.recv(4096).decode()

    assert "Booting worker" in received
    assert "LINE" not in received


LOGGER = """
from gunicorn.glogging import Logger

class Own(Logger):
    def access(self, resp, req, environ, request_time):
        print("OWN", req.method, req.path, req.version, resp.status, resp.status_code, resp.sent,
              environ["PATH_INFO"], request_time.seconds, flush=True)

logger_class = Own
"""


def test_a_logger_class_of_ones_own_is_asked(configured: Start, worker: str) -> None:
    """Without an access log too, and with objects like gunicorn's."""
    server = configured(LOGGER, worker=worker)

    server.get("/async")

    server.wait_for_log("OWN GET /async (1, 1) 200 OK 200 5 /async 0\n")


def test_a_logger_that_fails_spoils_no_answer(configured: Start) -> None:
    """Its failure is logged; the connection serves on."""
    server = configured(LOGGER.replace("print(", "raise ValueError("))

    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(2 * b"GET /sync HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        received = b""
        while data := sock.recv(4096):
            received += data

    assert 2 == received.count(b"HTTP/1.1 200 OK\r\n") == received.count(b"HTTP/1.1")
    server.wait_for_log("[ERROR] Error in the access log\nTraceback", times=2)


ERRORS = """
errorlog = {path!r}
loglevel = "warning"
capture_output = True
def post_worker_init(worker):
    print("printed by the application", flush=True)
    for level in ("debug", "info", "warning"):
        getattr(worker.log, level)("said at level %s", level)
"""


def test_the_error_log_has_its_file_level_and_what_is_printed(
    configured: Start, tmp_path: Path, worker: str
) -> None:
    """``errorlog``, ``loglevel`` and ``capture_output``."""
    path = tmp_path / "error.log"
    text = ERRORS.format(path=str(path))
    # With its log in a file gunicorn does not say where it listens.
    server = configured(text, "--pid", str(tmp_path / "pid"), worker=worker, listens=False)
    wait_for_text(path, "said at level warning")
    server.stop()

    text = path.read_text()
    assert ["warning"] == re.findall(r"said at level (\w+)", text)
    assert "printed by the application" in text


async def test_a_failure_below_the_worker_is_logged_there_too(
    configured: Start, tmp_path: Path
) -> None:
    """What aiohttp and this project say stands beside what gunicorn says."""
    path = tmp_path / "error.log"
    server = configured(f"errorlog = {str(path)!r}\n", listens=False)
    wait_for_text(path, "Listening at")
    server.port = int(re.findall(r"Listening at: http://127.0.0.1:(\d+)", path.read_text())[0])

    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        sock.recv(4096)

    wait_for_text(path, "[WARNING] Invalid request from ip=127.0.0.1")


def test_a_daemon_may_keep_its_output(tmp_path: Path, worker: str) -> None:
    """``enable_stdio_inheritance``: what is printed goes where the command's output went."""
    out, pid, log = (tmp_path / name for name in ("out", "pid", "error.log"))
    config = tmp_path / "print.conf.py"
    config.write_text("def post_worker_init(worker):\n    print('printed', flush=True)\n")
    command = [
        *(sys.executable, "-m", "gunicorn", "settings_app:app", "-k", worker, "--daemon"),
        *("--pid", str(pid), "--error-logfile", str(log), "--pythonpath", str(APPS)),
        *("--bind", f"unix:{tmp_path}/sock", "--no-control-socket", "--config", str(config)),
        "--enable-stdio-inheritance",
    ]

    with out.open("w") as output:
        subprocess.run(command, check=True, timeout=PATIENCE, stdout=output, stderr=output)
    wait_for_text(log, "Booting worker")
    master = int(pid.read_text())
    try:
        wait_for_text(out, "printed")
    finally:
        os.kill(master, SIGTERM)
        wait_for(lambda: not Path(f"/proc/{master}").exists(), "the end")
