"""Routes of included routers, each matched by its whole path at once.

FastAPI looks for a route in every included router, and once more in the one that has it, on each
level: with some hundred routes that was most of a small request's time, and a page makes ten.
"""

from collections.abc import Iterable

from fastapi.routing import RouteContext, iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send


class FlatRoute(BaseRoute):
    """One route, with the prefix, the dependencies and the tags of the routers around it."""

    def __init__(self, context: RouteContext) -> None:
        self.original_route = context.original_route
        """As its own router holds it."""
        self.path: str = context.path or ""
        self.path_format: str = context.path_format or ""
        self.name: str = context.name or ""
        self.methods: frozenset[str] = frozenset(context.methods or ())
        self._literal = self.path.partition("{")[0]
        self._matches = context.matches
        self._app = context.app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette asks. Most routes are ruled out by the part of their path that is fixed."""
        if scope["type"] != "http" or not scope["path"].startswith(self._literal):
            return Match.NONE, {}
        match, found = self._matches(scope)
        if match is not Match.NONE:
            found["route"] = self.original_route
        return match, found

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; 405 where the path is known by other methods."""
        if scope["method"] not in self.methods:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self.methods))})
        await self._app(scope, receive, send)


def flattened(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """The same routes in the same order, none of them inside a router."""
    return [FlatRoute(context) for context in iter_route_contexts(list(routes))]
