"""What of a request may stand in the access log: nothing that ends a line or commands a terminal.

Raw control characters get nowhere: aiohttp's parser refuses them. But gunicorn's log decodes two
things, the path (``%(U)s``) and the user of basic authentication (``%(u)s``), and does not look at
what comes out.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

__all__ = ("printable",)

_CONTROL = re.compile("[\x00-\x1f\x7f]")


def printable(environ: dict[str, Any]) -> dict[str, Any]:
    """Return *environ*, or a copy without control characters where it has some."""
    changes = {}
    path = environ.get("PATH_INFO", "")
    if "%" in environ["RAW_URI"] and _CONTROL.search(path):
        changes["PATH_INFO"] = _escaped(path)
    if "HTTP_AUTHORIZATION" in environ:
        changes["HTTP_AUTHORIZATION"] = _authorization(environ["HTTP_AUTHORIZATION"])
    return {**environ, **changes} if changes else environ


def _authorization(value: str) -> str:
    scheme, _, credentials = value.partition(" ")
    try:
        text = base64.b64decode(credentials.strip().encode("utf-8")).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return value  # gunicorn logs no user then
    if not _CONTROL.search(text):
        return value
    return f"{scheme} {base64.b64encode(_escaped(text).encode('utf-8')).decode('ascii')}"


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
