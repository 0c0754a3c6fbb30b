"""What setup.cfg says is true."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_lowest_versions_are_the_bounds_of_setup_cfg():
    """``make test-lowest`` tests exactly the versions that setup.cfg allows at least."""
    options = setup_cfg()
    extras = options["options.extras_require"]
    requirements = options["options"]["install_requires"]
    requirements += "".join(extras[name] for name in ("uvloop", "redis", "test"))
    bounds = dict(re.findall(r"^([\w-]+)>=(\S+)$", requirements, re.MULTILINE))
    pinned = dict(
        re.findall(
            r"^([\w-]+)==(\S+)$", (ROOT / "tests/lowest-versions.txt").read_text(), re.MULTILINE
        )
    )

    assert bounds == pinned


def test_run_time_dependencies_are_the_five_and_no_more():
    """A user gets gunicorn, aiohttp, Flask, setproctitle and greenlet, and nothing else."""
    requirements = setup_cfg()["options"]["install_requires"]

    assert {"aiohttp", "flask", "greenlet", "gunicorn", "setproctitle"} == set(
        re.findall(r"^([\w-]+)", requirements, re.MULTILINE)
    )


def test_entry_point_names_the_worker():
    """gunicorn finds the worker as ``egg:flask-aiohttp-worker#worker``."""
    from flask_aiohttp_worker import Worker

    distribution = importlib.metadata.distribution("flask-aiohttp-worker")
    [entry] = [e for e in distribution.entry_points if e.group == "gunicorn.workers"]

    assert "worker" == entry.name
    assert Worker is entry.load()


def test_each_package_is_installed():
    """A folder of modules that setup.cfg does not name would be missing from the wheel."""
    names = ("flask_aiohttp", "flask_aiohttp_worker")
    found = {path.parent for name in names for path in (ROOT / name).rglob("__init__.py")}
    packages = setup_cfg()["options"]["packages"].split()

    assert {".".join(path.relative_to(ROOT).parts) for path in found} == {
        package for package in packages if package != "flask_aiohttp_worker.deploy_files"
    }


def test_both_packages_are_typed():
    """Type checkers read the annotations of both packages."""
    assert (ROOT / "flask_aiohttp/py.typed").exists()
    assert (ROOT / "flask_aiohttp_worker/py.typed").exists()
