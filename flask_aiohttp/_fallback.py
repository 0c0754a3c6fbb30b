"""The place of a Flask application in aiohttp's router: last, whatever was added later."""

from __future__ import annotations

from aiohttp import web

from .handler import WSGIHandlerBase

__all__ = ("Fallback",)


class Fallback(web.DynamicResource):
    """Matches each request that no other resource of the router matches.

    Args:
        router: The router that it will be registered with.
        handler: Serves the requests.
    """

    def __init__(self, router: web.UrlDispatcher, handler: WSGIHandlerBase) -> None:
        super().__init__("/{path:.*}")
        self._router = router
        self._route = self.add_route(
            "*", handler.handle_request, expect_handler=_let_the_reader_ask
        )

    async def resolve(
        self, request: web.Request
    ) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """Match *request*, unless a resource that was registered later does."""
        for other in self._router.resources():
            if other is not self:
                match, _ = await other.resolve(request)
                # A sub-application answers 404 also for paths that are not below its prefix.
                if match is not None and match.http_exception is None:
                    return match, set()
        return web.UrlMappingMatchInfo({}, self._route), set()

    def is_alone(self) -> bool:
        """Return True if the router has no other resource."""
        return all(resource is self for resource in self._router.resources())


async def _let_the_reader_ask(_: web.Request) -> None:
    """Send no 100 Continue yet: the body's first read does, so that a view can refuse it unread."""
