"""Workers find each other where nobody else can look or put anything."""

from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from flask_aiohttp.rooms import _directory
from flask_aiohttp.rooms._directory import bind, names_in, path_of, private_directory

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def as_nobody(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program as another user."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            f"import os, socket, sys; os.setuid({NOBODY})\n{program}",
            *arguments,
        ],
        capture_output=True,
        text=True,
    )


CONNECT = """
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[1])
    sock.sendall(bytes.fromhex(sys.argv[2]))
    print(sock.recv(100))
"""


def test_a_directory_is_its_owners_alone(runtime: Path) -> None:
    """Whatever the umask; called again it is the same."""
    before = os.umask(0)
    try:
        path = private_directory("key")
    finally:
        os.umask(before)

    assert path.parent == runtime
    assert 0o700 == stat.S_IMODE(path.stat().st_mode)
    assert path == private_directory("key") != private_directory("another")


def test_its_name_does_not_tell_the_key(runtime: Path) -> None:
    """Names can be seen by others, where the directory above can."""
    assert "secret" not in str(private_directory("secret"))


@pytest.mark.parametrize("found", ["link", "file", "open"])
def test_what_is_not_private_is_not_used(found: str, runtime: Path) -> None:
    """A link, a file or what others can open: then the next place is tried."""
    path = private_directory("key")
    path.rmdir()
    if found == "link":
        (runtime / "elsewhere").mkdir(mode=0o700)
        path.symlink_to(runtime / "elsewhere")
    elif found == "file":
        path.touch()
    else:
        path.mkdir(mode=0o755)

    elsewhere = private_directory("key")
    try:
        assert elsewhere != path
        assert elsewhere.parent != runtime
    finally:
        elsewhere.rmdir()


@needs_root
def test_what_belongs_to_somebody_else_is_not_used(runtime: Path) -> None:
    """Another user may have made it first."""
    path = private_directory("key")
    os.chown(path, NOBODY, NOBODY)

    elsewhere = private_directory("key")
    try:
        assert elsewhere != path
    finally:
        elsewhere.rmdir()


def test_the_first_place_that_serves_is_taken(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """systemd's, then the session's, then the temporary one; a long path serves for no socket."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    for variable, value, expected in [
        ("RUNTIME_DIRECTORY", f"{runtime}/service:/run/other", runtime / "service"),
        ("RUNTIME_DIRECTORY", str(long), runtime),
        ("RUNTIME_DIRECTORY", "/nonexistent", runtime),
    ]:
        (runtime / "service").mkdir(exist_ok=True)
        monkeypatch.setenv(variable, value)

        assert expected == private_directory("key").parent


def test_without_any_place_the_error_names_each(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was wrong with it."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc")

    with pytest.raises(OSError, match="/nonexistent: No such file or directory; /proc: "):
        private_directory("key")


def test_a_socket_with_its_name_is_listened_to(runtime: Path) -> None:
    """There is no moment in which it would refuse."""
    directory = private_directory("key")
    with bind(directory, "1-00000000"), socket.socket(socket.AF_UNIX) as client:
        assert ["1-00000000"] == names_in(directory)
        client.connect(os.fspath(path_of(directory, "1-00000000")))


def test_a_living_socket_is_told_from_a_dead_one(runtime: Path) -> None:
    """Also when it has no room for one more."""
    directory = private_directory("key")
    path = path_of(directory, "1-00000000")
    with bind(directory, "1-00000000") as sock:
        sock.listen(0)
        assert _directory.is_alive(path)
        with socket.socket(socket.AF_UNIX) as waiting, socket.socket(socket.AF_UNIX) as refused:
            for client in (waiting, refused):
                client.setblocking(False)
            waiting.connect_ex(os.fspath(path))
            assert refused.connect_ex(os.fspath(path)) == errno.EAGAIN
            assert _directory.is_alive(path)
    assert not _directory.is_alive(path)


@needs_root
def test_another_user_cannot_reach_a_socket(runtime: Path) -> None:
    """The kernel does not let him into the directory."""
    runtime.chmod(0o755)
    with bind(private_directory("key"), "1-00000000"):
        tried = as_nobody(CONNECT, str(path_of(private_directory("key"), "1-00000000")), "00")

    assert "PermissionError" in tried.stderr
