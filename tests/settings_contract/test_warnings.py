"""Settings without effect are named in the log of a real gunicorn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from signal import SIGHUP

from harness import Gunicorn, wait_for

SAID = "Settings without effect under flask_aiohttp_worker.Worker: "


def test_one_warning_comes_before_the_workers_and_again_after_hup(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    """However many workers there are: one at the start, and one with what HUP has changed."""
    config = tmp_path / "gunicorn.conf.py"
    config.write_text("strip_header_spaces = True\nasgi_lifespan = 'off'\n")
    server = gunicorn("worker_demo:app", "--workers", "2", "--config", str(config))
    old = server.wait_for_workers(2)
    at_start = server.log.count(SAID)

    config.write_text("casefold_http_method = True\n")
    server.signal(SIGHUP)
    server.wait_for_log("Booting worker", times=4)
    wait_for(lambda: set(old).isdisjoint(server.workers), "the end of the old workers")

    lines = [line for line in server.log.splitlines() if SAID in line]
    assert 1 == at_start
    assert 2 == len(lines)
    assert all("[WARNING]" in line for line in lines)
    assert "strip_header_spaces (" in lines[0]
    assert "asgi_lifespan (" in lines[0]
    assert lines[1].partition(SAID)[2].startswith("casefold_http_method (")
    assert server.log.index(SAID) < server.log.index("Booting worker")
    assert 2 == len(server.wait_for_workers(2))


def test_a_protocol_that_is_changed_by_hup_is_an_error_in_the_log(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    """At the start it is refused; later the workers go on with HTTP, and nobody is cut off."""
    config = tmp_path / "gunicorn.conf.py"
    config.write_text("")
    server = gunicorn("worker_demo:app", "--config", str(config))
    server.wait_for_workers()

    config.write_text("protocol = 'uwsgi'\n")
    server.signal(SIGHUP)
    server.wait_for_log("Worker exiting")

    assert "[ERROR] flask_aiohttp_worker.Worker speaks HTTP, not 'uwsgi': remove" in server.log
    assert server.get("/async").startswith("loop ")
