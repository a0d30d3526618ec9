"""Flat routes answer as the routers that they are in would."""

import re

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Match
from starlette.types import Scope

from control.app import routes
from control.routes_flat import FlatRoute, flattened
from tests.control.running import Control


def scope_of(method: str, path: str) -> Scope:
    return {"type": "http", "method": method, "path": path, "root_path": "", "path_params": {}}


def test_for_every_path_the_route_is_the_one_that_nested_routers_find() -> None:
    nested = routes()
    flat = flattened(nested)
    contexts = list(iter_route_contexts(list(nested)))
    assert [one.path for one in flat if isinstance(one, FlatRoute)] == [c.path for c in contexts]
    for context in contexts:
        path = re.sub(r"\{\w+(:\w+)?\}", "1", context.path or "")
        for method in context.methods or ():
            found = next(
                one for one in flat if one.matches(scope_of(method, path))[0] is Match.FULL
            )
            wanted = next(c for c in contexts if c.matches(scope_of(method, path))[0] is Match.FULL)
            assert isinstance(found, FlatRoute)
            assert found.original_route is wanted.original_route, path


async def test_what_is_known_by_other_methods_is_refused_and_the_rest_is_not_found(
    control: Control,
) -> None:
    refused = await control.admin.delete("/api/v1/workers")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    for path in ("/api/v1/workers/more", "/api/v1/worker", "/api/v1", "/nothing"):
        assert (await control.admin.get(path)).status_code == 404


@pytest.mark.parametrize("inner", ["/{name}", "/{name}/more"])
async def test_a_route_keeps_its_prefix_its_parameters_and_its_place(inner: str) -> None:
    router, around = APIRouter(), APIRouter()

    @router.get("/first")
    def first() -> str:
        return "first"

    @router.get(inner)
    def other(name: str) -> str:
        return name

    around.include_router(router, prefix="/inside")
    app = FastAPI(routes=flattened(around.routes))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert (await client.get("/inside/first")).json() == "first"
        assert (await client.get(f"/inside{inner}".format(name="a%20b"))).json() == "a b"
        assert (await client.get("/first")).status_code == 404
