"""The cases of gunicorn's request corpus: bytes, the settings they need, and what comes of them.

A case is a pair of files in gunicorn's sdist, ``tests/requests/valid/NAME.http`` and ``NAME.py``.
The first has the bytes, with escapes. The second is a program that says what they are: requests,
or the name of the error that gunicorn's parser raises.
"""

from __future__ import annotations

import hashlib
import re
import runpy
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gunicorn.config import Config
from gunicorn.util import split_request_uri

__all__ = ("Case", "Request", "load")

# An escape in the bytes of a case; line ends there are only for the reader.
_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([rn0t]))")
_CHARACTERS = {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"t": b"\t"}

# The request lines of HTTP/1.1 in a case, with all lines up to the head's end.
_HEAD = re.compile(rb"^[A-Z]+ [^ \r\n]+ HTTP/1\.1\r\n(?:[^\r\n]+\r\n)*\r\n", re.MULTILINE)


@dataclass(frozen=True)
class Request:
    """One request as an application sees it."""

    method: str
    target: str
    protocol: str
    headers: dict[str, str]
    body: str

    @classmethod
    def of_facts(cls, facts: dict[str, str]) -> Request:
        """Return what the recording application has written down."""
        headers = {
            name: value
            for name, value in facts.items()
            if name.startswith("HTTP_") or name in ("CONTENT_TYPE", "CONTENT_LENGTH")
        }
        return cls(
            facts["REQUEST_METHOD"],
            facts["RAW_URI"],
            facts["SERVER_PROTOCOL"],
            headers,
            facts["body"],
        )

    @classmethod
    def of_expectation(cls, expected: dict[str, Any]) -> Request:
        """Return what a case expects."""
        headers: dict[str, str] = {}
        for name, value in expected["headers"]:
            variable = name.replace("-", "_")
            if variable not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                variable = f"HTTP_{variable}"
            headers[variable] = f"{headers[variable]},{value}" if variable in headers else value
        if expected["version"] == (1, 1):
            headers.setdefault("HTTP_HOST", "corpus")
        body = expected["body"]
        if isinstance(body, str):
            body = body.encode("latin-1")
        return cls(
            expected["method"],
            expected["uri"]["raw"],
            "HTTP/{}.{}".format(*expected["version"]),
            headers,
            f"{len(body)} {hashlib.sha256(body).hexdigest()}",
        )


@dataclass(frozen=True, eq=False)
class Case:
    """One case.

    Args:
        name: For example ``"invalid/001"``.
        data: What is sent.
        settings: The lines of gunicorn's configuration file that it needs.
        requests: What an application sees of a valid one.
        error: The name of the error that an invalid one is.
    """

    name: str
    data: bytes
    settings: str
    requests: list[Request]
    error: str


def load(sdist: Path, folder: Path) -> list[Case]:
    """Unpack gunicorn's sdist into *folder* and return its cases."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    paths = sorted(folder.glob("gunicorn-*/tests/requests/*/*.http"))
    return [_case(path) for path in paths]


def _case(path: Path) -> Case:
    text = path.read_bytes().replace(b"\n", b"")
    data = _ESCAPE.sub(_unescape, text)
    said = runpy.run_path(
        str(path.with_suffix(".py")),
        {"uri": lambda raw: {"raw": raw, "parts": split_request_uri(raw)}, "cfg": Config()},
    )
    request = said["request"]
    invalid = isinstance(request, type)
    requests = [] if invalid else request if isinstance(request, list) else [request]
    return Case(
        f"{path.parent.name}/{path.stem}",
        _HEAD.sub(_with_host, data),
        _settings(said["cfg"]),
        [Request.of_expectation(expected) for expected in requests],
        request.__name__ if invalid else "",
    )


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode()) if match[1] else _CHARACTERS[match[2]]


def _with_host(match: re.Match[bytes]) -> bytes:
    """Add the Host that HTTP/1.1 demands and gunicorn does not: else nothing else were tested."""
    head = match[0]
    if b"\nhost:" in head.lower():
        return head
    line, _, rest = head.partition(b"\r\n")
    return line + b"\r\nHost: corpus\r\n" + rest


def _settings(cfg: Config) -> str:
    """Return the lines that make a configuration of what a case has changed."""
    changed = {
        name: setting.get()
        for name, setting in sorted(cfg.settings.items())
        if setting.get() != Config().settings[name].get() and not callable(setting.get())
    }
    return "".join(
        f"{name} = {(','.join(value) if isinstance(value, list) else value)!r}\n"
        for name, value in changed.items()
    )
