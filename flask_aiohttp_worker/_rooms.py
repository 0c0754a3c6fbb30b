"""The key by which the workers of one gunicorn find each other's rooms.

The master makes it before it forks, so that each worker has it: those of a reload too, as the
master stays the same. It hands it on to the master that USR2 starts beside it, and to nobody else.
"""

from __future__ import annotations

import os
import secrets
from typing import Any

__all__ = ("key", "prepare")

# Where a master that is started by another (USR2) finds it.
_VARIABLE = "FLASK_AIOHTTP_ROOMS_KEY"

_key: str | None = None


def prepare(cfg: Any) -> None:
    """Make the key, if there is none; in the master, before each worker is forked.

    Args:
        cfg: ``gunicorn.config.Config``, whose ``env_orig`` is the environment of a new master.
    """
    global _key
    handed_on = os.environ.pop(_VARIABLE, None)
    if _key is None:
        # gunicorn sets GUNICORN_PID for a master that it starts, to its own process id.
        is_successor = os.environ.get("GUNICORN_PID") == str(os.getppid())
        _key = handed_on if handed_on and is_successor else secrets.token_hex(16)
    cfg.env_orig[_VARIABLE] = _key


def key() -> str | None:
    """Return the key, or None where no master has made one."""
    return _key
