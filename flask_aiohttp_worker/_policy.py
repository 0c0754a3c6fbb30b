"""From gunicorn's configuration to what requests are served, and whose word counts."""

from __future__ import annotations

from typing import Any

from flask_aiohttp._policy import Addresses, Policy
from flask_aiohttp._proxy_protocol import ProxyProtocol

__all__ = ("policy_of", "proxy_protocol_of")

# gunicorn's own ceilings; settings of 0 or less mean the highest one.
_MAX_LINE = 8190
_UNLIMITED_LINE = 1 << 20
_MAX_FIELDS = 32768
_MAX_FIELD = 8190


def policy_of(cfg: Any) -> Policy:
    """Return what *cfg*, a ``gunicorn.config.Config``, says of requests and proxies."""
    fields, field = cfg.limit_request_fields, cfg.limit_request_field_size
    return Policy(
        max_line=min(cfg.limit_request_line, _MAX_LINE) or _UNLIMITED_LINE,
        max_field=field if field > 0 else _MAX_FIELD,
        max_fields=fields if 0 < fields <= _MAX_FIELDS else _MAX_FIELDS,
        any_version=cfg.permit_unconventional_http_version,
        header_map=cfg.header_map,
        proxies=_addresses(cfg.forwarded_allow_ips, cfg.forwarded_allow_networks()),
        proxy_names=frozenset(cfg.forwarder_headers),
        scheme_headers=dict(cfg.secure_scheme_headers),
    )


def proxy_protocol_of(cfg: Any) -> ProxyProtocol | None:
    """Return whose headers of the PROXY protocol *cfg* says to read."""
    versions = {"v1": (1,), "v2": (2,), "auto": (1, 2)}.get(cfg.proxy_protocol)
    if versions is None:
        return None
    return ProxyProtocol(versions, _addresses(cfg.proxy_allow_ips, cfg.proxy_allow_networks()))


def _addresses(allowed: list[str], networks: list[Any]) -> Addresses:
    return Addresses(tuple(networks), everybody="*" in allowed)
