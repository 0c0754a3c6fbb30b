"""The gunicorn worker: ``gunicorn myapp:app -k flask_aiohttp_worker.Worker``."""

from __future__ import annotations

from ._worker import Worker

__all__ = ("Worker",)
