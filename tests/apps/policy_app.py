"""Applications that say what they were told of a request, for comparisons of servers."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any


def facts(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with the environ's strings, and length and hash of the body."""
    body = environ["wsgi.input"].read()
    said = {name: value for name, value in environ.items() if isinstance(value, str)}
    said["body"] = f"{len(body)} {hashlib.sha256(body).hexdigest()}"
    answer = json.dumps(said).encode()
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))]
    )
    return [answer]


def record(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer like facts(), and write the same down: a line for each whole request."""
    answer = facts(environ, start_response)
    with Path(os.environ["POLICY_RECORD"]).open("ab", buffering=0) as file:
        file.write(answer[0] + b"\n")
    return answer
