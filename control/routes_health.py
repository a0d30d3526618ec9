"""``/healthz`` and ``/readyz``: for supervisors and load balancers, without a credential."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse

from control.routes_parts import part
from control.store.stream import Stream
from runtime.logs import logger

TheStream = Annotated[Stream, Depends(part(lambda services: services.stream))]


def health_router() -> APIRouter:
    """``/healthz`` and ``/readyz``, outside of the OpenAPI document."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> JSONResponse:
        """The process lives and its event loop turns."""
        return JSONResponse({"status": "ok"})

    @router.get("/readyz")
    def readyz(stream: TheStream) -> JSONResponse:
        """The database answers: requests can be served."""
        try:
            stream.head()
        except Exception as error:
            logger("health").error("the database does not answer", error=repr(error))
            return JSONResponse({"status": "the database does not answer"}, status_code=503)
        return JSONResponse({"status": "ready"})

    return router
