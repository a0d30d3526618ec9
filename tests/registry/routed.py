"""The routes of a registry in an application of their own, for tests."""

from collections.abc import Callable

import httpx
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse

from protocol.errors import Code, TollwayError
from protocol.manifest import sha256_digest
from registry.access import Actor, Role
from registry.routes import registry_router
from registry.status import ServingStatus
from tests.registry import models_onnx
from tests.registry.conftest import Bench

MODEL = models_onnx.linear().SerializeToString()


def application(bench: Bench) -> FastAPI:
    """The router in an application of its own; the role comes in a header."""

    def require(*roles: Role) -> Callable[[Request], Actor]:
        def actor(request: Request) -> Actor:
            role = request.headers.get("x-role", "publisher")
            if role not in roles:
                raise TollwayError(Code.FORBIDDEN, "no")
            return Actor("ann", role)

        return actor

    async def refuse(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, TollwayError)
        return JSONResponse({"code": error.code, "detail": error.public}, error.status)

    app = FastAPI()
    app.add_exception_handler(TollwayError, refuse)
    app.state.registry = bench.registry
    app.include_router(registry_router(require), prefix="/api/v1")
    return app


async def upload(client: httpx.AsyncClient, data: bytes) -> dict[str, object]:
    blob = {"digest": sha256_digest(data), "size": len(data)}
    begun = await client.post("/blobs/uploads", json=blob)
    if begun.status_code == 201:
        path = f"/blobs/uploads/{begun.json()['id']}"
        await client.patch(path, content=data, headers={"Upload-Offset": "0"})
        assert (await client.post(f"{path}/complete")).status_code == 201
    return blob


async def register(client: httpx.AsyncClient, **more: object) -> httpx.Response:
    await client.put("/models/credit", json={})
    body = {"artifact": await upload(client, MODEL), **more}
    return await client.post("/models/credit/versions", json=body)


async def publish(client: httpx.AsyncClient, bench: Bench) -> int:
    number = int((await register(client)).json()["number"])
    bench.serving["credit", number] = ServingStatus(state="ready")
    for to in ("validated", "approved", "published"):
        done = await client.post(f"/models/credit/versions/{number}/transitions", json={"to": to})
        assert done.status_code == 200, done.text
    return number
