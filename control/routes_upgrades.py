"""Routes of what an application's own requests say of another version."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from control.captures import Capture, CaptureReading, may_read
from control.middleware import require
from control.reach import reach_of
from control.resources import Page
from control.routes_conventions import OWNERS, After, Limit, errors
from control.routes_parts import part
from control.services import Services
from control.store.captures import Sought
from control.upgrades import UpgradePreview, Upgrades
from protocol.errors import Code, TollwayError
from registry.access import Actor

Owner = Annotated[Actor, Depends(require(*OWNERS))]
TheServices = Annotated[Services, Depends(part(lambda services: services))]
Version = Annotated[int, Query(ge=1, le=2**31 - 1)]
_PLACE = "/applications/{application}"


def upgrade_router() -> APIRouter:
    """``/applications/A/upgrades/M`` and ``/applications/A/captures/M``."""
    router = APIRouter(tags=["pins"])

    @router.get(_PLACE + "/upgrades/{model}", responses=errors(404, 422))
    def preview_upgrade(
        services: TheServices,
        application: str,
        model: str,
        actor: Owner,
        to: Version,
        start: Annotated[int, Query(alias="from", ge=1, le=2**31 - 1)],
    ) -> UpgradePreview:
        """Say what would change for the application's recent requests with version `to` instead of
        `from`: how many rows would be answered otherwise, and its own rows that differ most.

        Known where one of the two was a shadow beside the other in the last 30 days. Captured
        requests can be scored again besides: see `/applications/{application}/captures/{model}`.
        """
        owner = services.directory.application(application, reach=reach_of(actor))
        whole = services.registry.permissions.check_sees(actor, model)
        made = Upgrades(
            services.registry, services.disagreements, services.captures, services.clock
        )
        return made.preview(
            application,
            model,
            (start, to),
            callable_only=not whole,
            payloads=may_read(actor, model, owner.consumer),
        )

    @router.get(_PLACE + "/captures/{model}", responses=errors(404, 422))
    def list_own_captures(
        services: TheServices,
        application: str,
        model: str,
        actor: Owner,
        version: Annotated[Version | None, Query(description="Only of it.")] = None,
        limit: Limit = 100,
        after: After = "",
    ) -> Page[Capture]:
        """List the captured predictions that the application has asked for, the newest first,
        without their payloads. For its consumer, and for who manages the model."""
        owner = services.directory.application(application, reach=reach_of(actor))
        services.registry.permissions.check_sees(actor, model)
        if not may_read(actor, model, owner.consumer):
            raise TollwayError(
                Code.FORBIDDEN, "payloads are for who sent them, and for who manages the model"
            )
        sought = Sought(model, application, version)
        items, following = CaptureReading(services.captures).page(sought, limit, after)
        return Page(items=items, next=following)

    return router
