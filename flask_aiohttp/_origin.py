"""Which pages may open a websocket.

A browser sends the page's origin, and the user's cookies with it: without this check any page
could talk to the application in the user's name (RFC 6455, section 10.2).
"""

from __future__ import annotations

from urllib.parse import urlsplit

from ._environ import Environ

__all__ = ("origin_is_allowed",)


def origin_is_allowed(environ: Environ, allowed: tuple[str, ...]) -> bool:
    """Return True if the page that opens a websocket may do so.

    Clients other than browsers send no Origin, and pass.

    Args:
        environ: As the view sees it: behind a trusted proxy, with the proxy's scheme and host.
        allowed: Origins besides the request's own; ``"*"`` is every one.
    """
    origin = environ.get("HTTP_ORIGIN")
    if origin is None or "*" in allowed:
        return True
    origin = origin.lower()
    if origin in allowed:
        return True
    own = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}".lower()
    authority = _authority(origin)
    return authority is not None and authority == _authority(own)


def _authority(origin: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port, or None if there is no host that could be compared."""
    try:
        parts = urlsplit(origin)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
