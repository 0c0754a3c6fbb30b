"""Whether anybody serves when this worker has gone.

SIGTERM means a reload, one worker less, or the end of all: gunicorn sends no more than that. But at
the end the master closes its listening sockets before it sends the signal.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

__all__ = ("master_listens",)


def master_listens(master: int, listeners: Iterable[Any]) -> bool:
    """Return True if the master still has one of the listening sockets; False if nobody can tell.

    Nobody can where there is no ``/proc``, where the master is another user's, and with
    ``reuse_port``, where it never has them.

    Args:
        master: Its process id.
        listeners: gunicorn's, with the sockets of this worker.
    """
    ours = {f"socket:[{os.fstat(listener.sock.fileno()).st_ino}]" for listener in listeners}
    try:
        with os.scandir(f"/proc/{master}/fd") as entries:
            return any(_target(entry.path) in ours for entry in entries)
    except OSError:
        return False


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:  # closed meanwhile
        return ""
