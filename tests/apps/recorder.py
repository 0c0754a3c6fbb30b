"""A WSGI application that answers with its environ, as JSON."""

import json
from collections.abc import Iterable
from typing import Any


def describe(value: Any) -> Any:
    """Return text as it is, and of anything else what can be compared."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, tuple)):
        return repr(value)
    return "callable" if callable(value) else "object"


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    seen = {name: describe(value) for name, value in environ.items()}
    text = json.dumps({**seen, "body": body.decode("latin-1")}).encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]
