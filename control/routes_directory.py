"""Routes of consumers and applications."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from control.middleware import require
from control.reach import reach_of
from control.resources import (
    Application,
    ApplicationRequest,
    Consumer,
    ConsumerRequest,
    Page,
)
from control.routes_conventions import (
    OWNERS,
    WRITERS,
    After,
    Condition,
    Limit,
    errors,
    tagged,
)
from control.routes_parts import part
from control.store.directory import Directory
from registry.access import EVERYONE, Actor

Reader = Annotated[Actor, Depends(require(*EVERYONE))]
Writer = Annotated[Actor, Depends(require(*WRITERS))]
Owner = Annotated[Actor, Depends(require(*OWNERS))]
Search = Annotated[
    str,
    Query(max_length=200, description="Words that are all in the name, the title or the consumer."),
]


TheDirectory = Annotated[Directory, Depends(part(lambda services: services.directory))]


def directory_router() -> APIRouter:
    """``/consumers`` and ``/applications``."""
    router = APIRouter(tags=["consumers"])
    _add_consumers(router)
    _add_applications(router)
    return router


def _add_consumers(router: APIRouter) -> None:
    @router.get("/consumers", responses=errors(422))
    def list_consumers(
        directory: TheDirectory,
        actor: Reader,
        limit: Limit = 100,
        after: After = "",
        search: Annotated[
            str | None, Query(max_length=100, description="Text in the name or the title.")
        ] = None,
    ) -> Page[Consumer]:
        """List consumers by name."""
        return directory.consumers(limit, after, search or None, reach=reach_of(actor))

    @router.get("/consumers/{consumer}", responses=errors(404))
    def get_consumer(
        directory: TheDirectory, consumer: str, response: Response, actor: Reader
    ) -> Consumer:
        """Read a consumer."""
        found = directory.consumer(consumer, reach=reach_of(actor))
        tagged(response, found)
        return found

    @router.put(
        "/consumers/{consumer}",
        responses={201: {"model": Consumer, "description": "Made."}, **errors(404, 412, 422)},
    )
    def put_consumer(
        directory: TheDirectory,
        consumer: str,
        response: Response,
        condition: Condition,
        actor: Writer,
        request: ConsumerRequest | None = None,
    ) -> Consumer:
        """Make or change a consumer. Repeating it changes nothing."""
        wish = request or ConsumerRequest()
        put = directory.put_consumer(consumer, wish, condition, reach=reach_of(actor))
        tagged(response, put.item, created=put.created)
        return put.item

    @router.delete("/consumers/{consumer}", status_code=204, responses=errors(404, 409, 412))
    def delete_consumer(
        directory: TheDirectory,
        consumer: str,
        condition: Condition,
        actor: Annotated[Actor, Depends(require("admin"))],
        cascade: Annotated[
            bool, Query(description="End its applications too, with their keys.")
        ] = False,
    ) -> None:
        """Delete a consumer. One that still has applications needs `cascade`."""
        directory.delete_consumer(consumer, condition, cascade=cascade, reach=reach_of(actor))


def _add_applications(router: APIRouter) -> None:
    @router.get("/applications", responses=errors(422))
    def list_applications(
        directory: TheDirectory,
        actor: Reader,
        limit: Limit = 100,
        after: After = "",
        consumer: Annotated[str | None, Query(description="Only this consumer's.")] = None,
        search: Search = "",
    ) -> Page[Application]:
        """List applications by name."""
        return directory.applications(limit, after, consumer, search, reach=reach_of(actor))

    @router.get("/applications/{application}", responses=errors(404))
    def get_application(
        directory: TheDirectory, application: str, response: Response, actor: Reader
    ) -> Application:
        """Read an application."""
        found = directory.application(application, reach=reach_of(actor))
        tagged(response, found)
        return found

    @router.put(
        "/applications/{application}",
        responses={
            201: {"model": Application, "description": "Made."},
            **errors(404, 409, 412, 422),
        },
    )
    def put_application(
        directory: TheDirectory,
        application: str,
        response: Response,
        condition: Condition,
        actor: Owner,
        request: ApplicationRequest | None = None,
    ) -> Application:
        """Make or change an application. Without a consumer it belongs to the caller's, or to
        `default`."""
        wish = request or ApplicationRequest()
        put = directory.put_application(application, wish, condition, reach=reach_of(actor))
        tagged(response, put.item, created=put.created)
        return put.item

    @router.delete("/applications/{application}", status_code=204, responses=errors(404, 412))
    def delete_application(
        directory: TheDirectory, application: str, condition: Condition, actor: Owner
    ) -> None:
        """Delete an application: its keys are revoked and its subscriptions end, everywhere within
        a second. Its name stays its consumer's, because usage is filed under it."""
        directory.delete_application(application, condition, reach=reach_of(actor))
