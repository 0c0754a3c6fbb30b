"""The files in deploy/ are valid, agree with one another, and start gunicorn."""

import http.client
import re
import shlex
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from gunicorn.config import Config

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICE = "flask-aiohttp@.service"
SOCKET = "flask-aiohttp@.socket"
UNITS = [SERVICE, SOCKET]

# Set by systemd itself, so nobody has to set it.
OWN_VARIABLES = {"MAINPID"}

# Read by gunicorn itself, so the unit need not name them.
GUNICORN_VARIABLES = {"FORWARDED_ALLOW_IPS", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"}


def read(name):
    return (DEPLOY / name).read_text()


def values(unit, key):
    """What a unit says for a key, once per line, for the instance "demo"."""
    text = read(unit).replace("\\\n", " ").replace("%i", "demo")
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


def value(unit, key):
    [only] = values(unit, key)
    return only


def unit_defaults():
    """The variables that the service sets itself."""
    return dict(line.split("=", 1) for line in values(SERVICE, "Environment"))


def documented():
    """The variables in the example, each with all its values, commented out or not."""
    found = {}
    for name, text in re.findall(r"^#?([A-Z_]+)=(.*)$", read("environment.example"), re.MULTILINE):
        found.setdefault(name, []).append(text)
    return found


def command(key="ExecStart", **variables):
    """A command line of the service as systemd runs it, with the variables filled in."""
    return [
        re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], word)
        for word in shlex.split(value(SERVICE, key))
    ]


def executable(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


@pytest.fixture
def root(tmp_path):
    """
    A directory with just enough of a machine for the units to be verified as they are shipped.

    `systemd-analyze verify` insists that the programs exist. Its own root, in place of this
    machine's, holds empty ones where the units expect them, and keeps complaints about other
    units of this machine out of the answer.
    """
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for target in ["basic.target", "sysinit.target"]:
        (units / target).write_text("[Unit]\n")
    for unit in UNITS:
        (units / unit).write_text(read(unit))
    for key in ["ExecStart", "ExecReload"]:
        executable(tmp_path / command(key, APP="", BIND="")[0].lstrip("/"))

    return tmp_path


@pytest.fixture
def complaints(require, root):
    """A function that returns all that systemd has to say about the instance "demo" of a unit."""
    analyze = require("systemd-analyze")

    def verify(unit):
        # Not the exit status: that is 0 even where a key is unknown and so without effect.
        done = subprocess.run(
            [analyze, f"--root={root}", "verify", unit.replace("@", "@demo")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        return done.stdout

    return verify


@pytest.mark.parametrize("unit", UNITS)
def test_shipped_unit_is_verified_without_a_word(complaints, unit):
    """systemd has nothing to say about a unit as it is shipped."""
    assert "" == complaints(unit)


@pytest.mark.parametrize("drop_in, exposure", [(None, 1.2), ("no-network.conf", 0.5)])
def test_the_service_can_reach_little(require, root, drop_in, exposure):
    """systemd's own measure of what a service is exposed to: 0 is nothing, 9.6 all."""
    analyze = require("systemd-analyze")
    if drop_in:
        directory = root / f"etc/systemd/system/{SERVICE}.d"
        directory.mkdir()
        (directory / drop_in).write_text(read(drop_in))
    done = subprocess.run(
        [
            *(analyze, f"--root={root}", "security", "--offline=yes", "--no-pager"),
            *(f"--threshold={round(exposure * 10)}", SERVICE.replace("@", "@demo")),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert "" == done.stderr
    assert "Overall exposure level for flask-aiohttp@demo.service" in done.stdout
    assert 0 == done.returncode, done.stdout


def test_the_drop_in_is_verified_without_a_word(complaints, root):
    """systemd has nothing to say about a service without network either."""
    directory = root / f"etc/systemd/system/{SERVICE}.d"
    directory.mkdir()
    (directory / "no-network.conf").write_text(read("no-network.conf"))

    assert "" == complaints(SERVICE)


@pytest.mark.parametrize("unit, section", [(SERVICE, "Service"), (SOCKET, "Socket")])
def test_unknown_key_in_a_unit_is_reported(complaints, root, unit, section):
    """A misspelt key, which systemd would ignore, does not pass the check."""
    with (root / "etc/systemd/system" / unit).open("a") as copy:
        copy.write(f"[{section}]\nTimeoutStopSecs=1\n")

    assert ["TimeoutStopSecs"] == re.findall("Unknown key.* '(.*)' in section", complaints(unit))


def test_missing_program_of_the_service_is_reported(complaints, root):
    """The check looks for gunicorn in the virtual environment of the instance."""
    (root / "srv/demo/.venv/bin/gunicorn").unlink()

    assert ["/srv/demo/.venv/bin/gunicorn"] == re.findall(
        "Command (.*) is not executable", complaints(SERVICE)
    )


def test_each_variable_of_the_service_is_in_the_example():
    """Whoever fills in the example has set all that the service reads."""
    used = set(re.findall(r"\$\{?(\w+)", read(SERVICE))) | unit_defaults().keys()

    assert set() == used - OWN_VARIABLES - documented().keys()


def test_each_variable_in_the_example_is_read():
    """The example names no variable that has no effect."""
    used = set(re.findall(r"\$\{?(\w+)", read(SERVICE))) | unit_defaults().keys()

    assert set() == documented().keys() - used - GUNICORN_VARIABLES


def test_example_shows_the_defaults_of_the_service():
    """What the example gives first for a variable with a default is that default."""
    defaults = unit_defaults()

    assert defaults == {name: documented()[name][0] for name in defaults}


def test_readme_names_just_the_paths_of_the_units():
    """A path in the README is one that the units use, and the other way round."""
    program = Path(command(APP="", BIND="")[0])
    paths = {
        value(SERVICE, "WorkingDirectory"),
        str(program),
        str(program.with_name("pip")),
        str(program.with_name("python")),
        str(program.parent.parent),
        value(SERVICE, "EnvironmentFile"),
        "/run/" + value(SERVICE, "RuntimeDirectory"),
        "/var/lib/" + value(SERVICE, "StateDirectory"),
        unit_defaults()["BIND"].removeprefix("unix:"),
        value(SOCKET, "ListenStream"),
    }
    named = re.findall(r"/(?:etc|run|srv|var)/[\w./-]*demo[\w./-]*", read("README.rst"))

    assert paths == set(named)


def test_readme_names_the_files_of_the_directory():
    """Each file beside the README is in it."""
    files = {path.name for path in DEPLOY.iterdir()} - {"README.rst"}

    assert set() == {name for name in files if f"``{name}``" not in read("README.rst")}


def test_readme_names_the_user_and_the_group_of_the_units():
    """The README says whom the service runs as and who may connect to the socket."""
    names = [value(SERVICE, "User"), value(SOCKET, "SocketGroup")]

    assert names == re.findall("the (?:user|group) ``(.*?)``", read("README.rst"))


def test_socket_is_not_in_a_directory_that_a_stop_removes():
    """The socket outlives the service, whose runtime directory does not."""
    runtime_directory = Path("/run", value(SERVICE, "RuntimeDirectory"))

    assert runtime_directory not in Path(value(SOCKET, "ListenStream")).parents


def test_systemd_waits_longer_than_gunicorn_for_a_stop():
    """systemd kills nothing that gunicorn still waits for."""
    assert Config().graceful_timeout < int(value(SERVICE, "TimeoutStopSec"))


def test_the_master_has_replaced_a_stuck_worker_before_the_watchdog_acts():
    """systemd restarts the whole service only where gunicorn cannot help itself."""
    assert Config().timeout < int(value(SERVICE, "WatchdogSec"))


def test_socket_has_the_backlog_of_gunicorn():
    """With the socket unit, as many connections may wait as without it."""
    assert Config().backlog == int(value(SOCKET, "Backlog"))


def test_gunicorn_understands_the_command_line():
    """gunicorn knows each option of the service and takes it as it is meant."""
    config = Config()
    _, *arguments = command(APP="myapp:app", BIND="unix:/tmp/http.sock")
    options = config.parser().parse_args(arguments)

    assert "flask_aiohttp_worker.Worker" == options.worker_class
    assert options.control_socket_disable is True
    assert "/run/flask-aiohttp/demo" == options.worker_tmp_dir
    assert ["unix:/tmp/http.sock"] == options.bind
    assert ["myapp:app"] == options.args


@pytest.fixture
def application(tmp_path):
    """A directory with the smallest application, and the service's command line to run it."""
    (tmp_path / "myapp.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Length', '5')])\n"
        "    return [b'hello']\n"
    )
    # What is checked is how systemd, gunicorn and the worker meet, so any directory will do.
    _, *arguments = command(APP="myapp:app", BIND="unix:unused.sock")
    arguments[arguments.index("--worker-tmp-dir") + 1] = str(tmp_path)

    return tmp_path, [sys.executable, "-m", "gunicorn", *arguments]


class UnixConnection(http.client.HTTPConnection):
    """A connection to a server that listens at a path."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.host)


def test_service_command_serves_the_socket_that_systemd_hands_over(require, application):
    """gunicorn answers on the socket of the socket unit, and leaves its own address alone."""
    directory, arguments = application
    activate = require("systemd-socket-activate")
    listening = directory / "listen.sock"
    server = subprocess.Popen(
        [activate, "--listen", listening, *arguments],
        cwd=directory,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        # The program that takes systemd's place says when it listens.
        assert "Listening on" in server.stderr.readline()

        connection = UnixConnection(str(listening))
        connection.request("GET", "/", headers={"Host": "localhost", "Connection": "close"})
        body = connection.getresponse().read()
        connection.close()
    finally:
        server.terminate()
        _, log = server.communicate(timeout=30)

    assert b"hello" == body
    assert 0 == server.returncode, log
    assert not (directory / "unused.sock").exists()
    assert stat.S_ISSOCK(listening.stat().st_mode)
