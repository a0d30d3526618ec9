"""Routes of consumers and applications."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from control.middleware import require
from control.resources import (
    Application,
    ApplicationRequest,
    Consumer,
    ConsumerRequest,
    Page,
)
from control.routes_conventions import (
    READERS,
    WRITERS,
    After,
    Condition,
    Limit,
    errors,
    tagged,
)
from control.store.directory import Directory


def directory_router(directory: Directory) -> APIRouter:
    """``/consumers`` and ``/applications``."""
    router = APIRouter(tags=["consumers"])
    reads = [Depends(require(*READERS))]
    writes = [Depends(require(*WRITERS))]

    @router.get("/consumers", dependencies=reads, responses=errors(422))
    def list_consumers(limit: Limit = 100, after: After = "") -> Page[Consumer]:
        """List consumers by name."""
        return directory.consumers(limit, after)

    @router.get("/consumers/{consumer}", dependencies=reads, responses=errors(404))
    def get_consumer(consumer: str, response: Response) -> Consumer:
        """Read a consumer."""
        found = directory.consumer(consumer)
        tagged(response, found)
        return found

    @router.put(
        "/consumers/{consumer}",
        dependencies=writes,
        responses={201: {"model": Consumer, "description": "Made."}, **errors(412, 422)},
    )
    def put_consumer(
        consumer: str,
        response: Response,
        condition: Condition,
        request: ConsumerRequest | None = None,
    ) -> Consumer:
        """Make or change a consumer. Repeating it changes nothing."""
        put = directory.put_consumer(consumer, request or ConsumerRequest(), condition)
        tagged(response, put.item, created=put.created)
        return put.item

    @router.get("/applications", dependencies=reads, responses=errors(422))
    def list_applications(
        limit: Limit = 100,
        after: After = "",
        consumer: Annotated[str | None, Query(description="Only this consumer's.")] = None,
    ) -> Page[Application]:
        """List applications by name."""
        return directory.applications(limit, after, consumer)

    @router.get("/applications/{application}", dependencies=reads, responses=errors(404))
    def get_application(application: str, response: Response) -> Application:
        """Read an application."""
        found = directory.application(application)
        tagged(response, found)
        return found

    @router.put(
        "/applications/{application}",
        dependencies=writes,
        responses={201: {"model": Application, "description": "Made."}, **errors(404, 412, 422)},
    )
    def put_application(
        application: str,
        response: Response,
        condition: Condition,
        request: ApplicationRequest | None = None,
    ) -> Application:
        """Make or change an application. Without a consumer it belongs to `default`."""
        put = directory.put_application(application, request or ApplicationRequest(), condition)
        tagged(response, put.item, created=put.created)
        return put.item

    return router
