"""``python -m flask_aiohttp_worker.deploy`` fills in what the shipped files leave open."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_aiohttp import InvalidSetting
from flask_aiohttp_worker.deploy import Deployment, main

SHOP = {
    "name": "shop-1",
    "directory": "/opt/shop",
    "user": "www",
    "domain": "shop.example.com",
    "workers": 4,
    "network": False,
}


def test_each_file_is_filled_in() -> None:
    """Directory, user, names and numbers stand where they belong, and no example is left."""
    files = Deployment("shop.web:create_app('a, b')", **SHOP).files()  # type: ignore[arg-type]
    service = files["/etc/systemd/system/flask-aiohttp@shop-1.service"]
    environment = files["/etc/flask-aiohttp/shop-1.env"]
    site = files["/etc/nginx/sites-enabled/shop-1.conf"]

    assert "WorkingDirectory=/opt/shop\n" in service
    assert "ExecStart=/opt/shop/.venv/bin/gunicorn" in service
    assert "\nUser=www\n" in service
    assert "\nAPP=\"shop.web:create_app('a, b')\"\n" in environment
    assert "\nWEB_CONCURRENCY=4\n" in environment
    assert 2 == site.count("server_name shop.example.com;")
    assert "server unix:/run/flask-aiohttp-shop-1.sock " in site
    assert "alias /opt/shop/static/;" in site
    assert "/opt/shop/gunicorn.conf.py" in files
    assert (
        "PrivateNetwork=yes"
        in (files["/etc/systemd/system/flask-aiohttp@shop-1.service.d/no-network.conf"])
    )
    assert [] == [path for path, text in files.items() if re.search(r"\bdemo\b", uncommented(text))]


def test_what_is_filled_in_is_not_replaced_again() -> None:
    """An application, a folder or a domain may be called like the example."""
    files = Deployment(
        "demo.web:app", name="shop", directory="/opt/demo", domain="demo.example.com"
    ).files()
    site = files["/etc/nginx/sites-enabled/shop.conf"]

    assert '\nAPP="demo.web:app"\n' in files["/etc/flask-aiohttp/shop.env"]
    assert 2 == site.count("server_name demo.example.com;")
    assert "alias /opt/demo/static/;" in site
    assert "server unix:/run/flask-aiohttp-shop.sock " in site
    assert 2 == site.count("$shop_connection")


def uncommented(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


@pytest.mark.parametrize(
    "app, name", [("shop:app", "shop"), ("company.web_shop:app", "web_shop"), ("shop", "shop")]
)
def test_the_name_is_that_of_the_module(app: str, name: str) -> None:
    """What is not said is what a user would expect."""
    deployment = Deployment(app)

    assert name == deployment.name
    assert f"/srv/{name}" == deployment.directory
    assert f"flask-{name}" == deployment.user


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"app": "my app:app"}, "the application"),
        ({"app": 'shop:create("x")'}, "the application"),
        ({"app": "shop:app\nUser=root"}, "the application"),
        ({"app": "-k:app"}, "the application"),
        ({"name": "a/b"}, "--name"),
        ({"name": "x" * 26}, "--name"),
        ({"directory": "srv/shop"}, "--directory"),
        ({"directory": "/srv/%i"}, "--directory"),
        ({"directory": "/srv/../etc"}, "--directory"),
        ({"venv": "/srv/a b"}, "--venv"),
        ({"user": "root;"}, "--user"),
        ({"domain": "shop.example.com; include x"}, "--domain"),
        ({"domain": "-x.example"}, "--domain"),
        ({"workers": 0}, "--workers"),
    ],
)
def test_what_cannot_stand_in_the_files_is_refused(changes: dict[str, object], name: str) -> None:
    """Nothing that is given can end a line or begin a directive."""
    arguments = {"app": "shop:app", **changes}
    with pytest.raises(InvalidSetting) as refused:
        Deployment(**arguments)  # type: ignore[arg-type]

    assert name == refused.value.name


def test_files_are_written_and_their_places_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed is a list of commands that install each file."""
    output = tmp_path / "out"

    assert 0 == main(["shop:app", "--output", str(output)])

    printed = capsys.readouterr().out
    for path in output.iterdir():
        assert re.search(rf"^sudo install -D -m 06\d\d {re.escape(str(path))} /", printed, re.M)
    assert 5 == len([*output.iterdir()])


def test_nothing_is_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is there stays as it is, and so do the others, until --force is given."""
    (tmp_path / "shop.env").write_text("SECRET=1\n")

    assert 1 == main(["shop:app", "--output", str(tmp_path)])
    assert ["SECRET=1\n"] == [path.read_text() for path in tmp_path.iterdir()]
    assert "--force" in capsys.readouterr().err

    assert 0 == main(["shop:app", "--output", str(tmp_path), "--force"])
    assert 'APP="shop:app"' in (tmp_path / "shop.env").read_text()


def test_bad_input_is_one_line_and_no_file(tmp_path: Path) -> None:
    """On the command line too, and the exit code says so."""
    output = tmp_path / "out"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "flask_aiohttp_worker.deploy", "shop:app"),
            *("--domain", "a b", "--output", str(output)),
        ],
        capture_output=True,
        text=True,
    )

    assert (2, "") == (done.returncode, done.stdout)
    assert "error: --domain is 'a b', but must be a host name\n" == done.stderr
    assert not output.exists()


def test_units_as_written_are_verified_without_a_word(
    require: Callable[[str], str], tmp_path: Path
) -> None:
    """systemd has nothing to say about units with other names in them."""
    analyze = require("systemd-analyze")
    main(["shop:app", "--directory", "/opt/shop", "--output", str(tmp_path / "out")])
    units = tmp_path / "root/etc/systemd/system"
    units.mkdir(parents=True)
    for name in ("basic.target", "sysinit.target"):
        (units / name).write_text("[Unit]\n")
    for path in (tmp_path / "out").glob("flask-aiohttp@*"):
        path.rename(units / path.name)
    for program in ("opt/shop/.venv/bin/gunicorn", "bin/kill"):
        path = tmp_path / "root" / program
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)

    for unit in ("flask-aiohttp@shop.service", "flask-aiohttp@shop.socket"):
        done = subprocess.run(
            [analyze, f"--root={tmp_path}/root", "verify", unit],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ("", "") == (done.stdout, done.stderr)
