"""``/healthz`` and ``/readyz``: for supervisors and load balancers, without a credential."""

from collections.abc import Callable

from fastapi import APIRouter
from starlette.responses import JSONResponse

from runtime.logs import logger


def health_router(probe: Callable[[], object]) -> APIRouter:
    """``probe`` asks the database for something small, and raises when it does not answer."""
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def healthz() -> JSONResponse:
        """The process lives and its event loop turns."""
        return JSONResponse({"status": "ok"})

    @router.get("/readyz")
    def readyz() -> JSONResponse:
        """The database answers: requests can be served."""
        try:
            probe()
        except Exception as error:
            logger("health").error("the database does not answer", error=repr(error))
            return JSONResponse({"status": "the database does not answer"}, status_code=503)
        return JSONResponse({"status": "ready"})

    return router
