"""The private directory in which the workers of one gunicorn find each other.

Rule 1: nobody but its owner can see into it or put anything there. What is found in its place, of
        another owner or open to others or a link, is not used.
Rule 2: a socket that has its final name is listened to. One that refuses is a dead worker's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ._frames import VERSION

__all__ = ("bind", "is_alive", "names_in", "path_of", "private_directory", "remove", "sweep")

_PREFIX = "flask-aiohttp-"
_SUFFIX = ".sock"

# Bytes of the longest path of a Unix socket, its final zero included: 104 on BSD and macOS.
_MAX_PATH = 104

# How many connections may wait to be accepted: workers that start while this one is busy.
_BACKLOG = 128

# Seconds for which a directory has been left alone before it is taken for abandoned.
_ABANDONED = 60.0


def private_directory(key: str) -> Path:
    """Return the directory of the workers that have *key* in common; make it if need be.

    It is below ``RUNTIME_DIRECTORY`` (systemd), ``XDG_RUNTIME_DIR`` or the temporary directory, the
    first in which it can be made.

    Raises:
        OSError: In none.
    """
    # Its name tells nobody the key.
    name = _PREFIX + hashlib.sha256(f"{VERSION} {key}".encode()).hexdigest()[:16]
    problems = []
    for base in _bases():
        try:
            return _make(base / name)
        except OSError as error:
            problems.append(f"{base}: {error.strerror or error}")
    raise OSError("; ".join(problems))


def _bases() -> Iterator[Path]:
    for variable in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        if value := os.environ.get(variable):
            # systemd names several, if the unit does.
            yield Path(value.partition(":")[0])
    yield Path(tempfile.gettempdir())


def _make(path: Path) -> Path:
    longest = path / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
    if len(os.fsencode(longest)) >= _MAX_PATH:
        raise OSError("the path is too long for a Unix socket")
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode):
        raise OSError(f"{path.name} is no directory")
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise OSError(f"{path.name} is not this user's alone")
    return path


def bind(directory: Path, name: str) -> socket.socket:
    """Return a socket that listens under *name*.

    Raises:
        OSError: The directory is gone: who left it last has removed it.
    """
    path = path_of(directory, name)
    unfinished = path.with_suffix(".new")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(os.fspath(unfinished))
        sock.listen(_BACKLOG)
        unfinished.rename(path)
    except BaseException:
        sock.close()
        raise
    return sock


def path_of(directory: Path, name: str) -> Path:
    """Return the path of one worker's socket."""
    return directory / f"{name}{_SUFFIX}"


def names_in(directory: Path) -> list[str]:
    """Return the names of the sockets, of which some may be dead."""
    return sorted(path.stem for path in directory.glob(f"*{_SUFFIX}"))


def is_alive(path: Path) -> bool:
    """Return True if somebody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        # A full backlog is no reason to wait: it has a listener.
        sock.setblocking(False)
        try:
            sock.connect(os.fspath(path))
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True


def remove(directory: Path) -> None:
    """Remove the directory, unless it is in use."""
    with contextlib.suppress(OSError):
        directory.rmdir()


def sweep(directory: Path) -> None:
    """Remove the directories beside this one whose workers were all killed."""
    for other in directory.parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = other.lstat()
            if other == directory or status.st_uid != os.geteuid():
                continue
            if time.time() - status.st_mtime < _ABANDONED or not stat.S_ISDIR(status.st_mode):
                continue
            if not any(is_alive(path) for path in other.iterdir()):
                for path in other.iterdir():
                    path.unlink()
                other.rmdir()
