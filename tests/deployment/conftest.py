"""The shipped site, in front of gunicorn with the shipped configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Gunicorn, wait_for

from deployment.serving import Nginx, Site, make_certificate
from flask_aiohttp_worker.deploy import Deployment

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def site(
    require: Callable[[str], str],
    gunicorn: Callable[..., Gunicorn],
    tmp_path: Path,
) -> Iterator[Site]:
    """The site as ``python -m flask_aiohttp_worker.deploy`` writes it, with paths of this test."""
    program = require("nginx")
    certificate = make_certificate(require("openssl"), tmp_path)
    text = Deployment("deployed:app", name="demo", domain="localhost").files()[
        "/etc/nginx/sites-enabled/demo.conf"
    ]
    (tmp_path / "static").mkdir()
    (tmp_path / "static/file.txt").write_text("a file")
    for old, new in (
        ("/run/flask-aiohttp-demo.sock", str(tmp_path / "http.sock")),
        ("/srv/demo/static/", f"{tmp_path}/static/"),
        ("/etc/letsencrypt/live/localhost/fullchain.pem", str(certificate)),
        ("/etc/letsencrypt/live/localhost/privkey.pem", str(tmp_path / "key.pem")),
        ("rate=50r/s", "rate=5000r/s"),
    ):
        assert old in text
        text = text.replace(old, new)
    server = gunicorn(
        *("deployed:app", "-w", "2", "--config", str(DEPLOY / "gunicorn.conf.py")),
        bind=f"unix:{tmp_path}/http.sock",
        env={"RELEASED": str(tmp_path / "released")},
    )
    server.wait_for_workers(2)
    nginx = Nginx(program, text, tmp_path)
    try:
        wait_for(
            lambda: (tmp_path / "nginx.pid").exists() or nginx.process.poll() is not None,
            f"nginx: {nginx.log_path.read_text()}",
        )
        assert nginx.process.poll() is None, nginx.log_path.read_text()
        yield Site(nginx, server, certificate, tmp_path / "released")
    finally:
        nginx.stop()
