"""Routes of pins: which version answers an application."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from control.middleware import require
from control.pins import Pin, PinRequest
from control.reach import reach_of
from control.resources import Page
from control.routes_conventions import OWNERS, After, Condition, Limit, errors, tagged
from control.routes_parts import part
from control.services import Services
from control.store.pins import Pins
from registry.access import EVERYONE, Actor

Reader = Annotated[Actor, Depends(require(*EVERYONE))]
Owner = Annotated[Actor, Depends(require(*OWNERS))]
ThePins = Annotated[Pins, Depends(part(lambda services: services.pins))]
TheServices = Annotated[Services, Depends(part(lambda services: services))]

_LIST = "/applications/{application}/pins"
_PLACE = _LIST + "/{model}"


def pin_router() -> APIRouter:
    """``/applications/A/pins`` and ``/models/M/pins``."""
    router = APIRouter(tags=["pins"])
    _add_reads(router)
    _add_changes(router)
    return router


def _add_reads(router: APIRouter) -> None:
    @router.get(_LIST, responses=errors(404, 422))
    def list_pins(
        pins: ThePins, application: str, actor: Reader, limit: Limit = 100, after: After = ""
    ) -> Page[Pin]:
        """List an application's pins by model."""
        return pins.of_application(application, limit, after, reach=reach_of(actor))

    @router.get(_PLACE, responses=errors(404))
    def get_pin(
        pins: ThePins, application: str, model: str, response: Response, actor: Reader
    ) -> Pin:
        """Read a pin."""
        found = pins.get(application, model, reach=reach_of(actor))
        tagged(response, found)
        return found

    @router.get("/models/{model}/pins", responses=errors(404, 422))
    def list_pins_of_model(
        services: TheServices, model: str, actor: Reader, limit: Limit = 100, after: After = ""
    ) -> Page[Pin]:
        """List a model's pins by application. For those who manage it."""
        services.registry.permissions.check_manages(actor, model)
        services.registry.models.get(model)
        return services.pins.of_model(model, limit, after)


def _add_changes(router: APIRouter) -> None:
    @router.put(
        _PLACE,
        responses={201: {"model": Pin, "description": "Made."}, **errors(404, 409, 412, 422)},
    )
    def put_pin(
        pins: ThePins,
        application: str,
        model: str,
        request: PinRequest,
        response: Response,
        condition: Condition,
        actor: Owner,
    ) -> Pin:
        """Pin an application to a version: every gateway answers its calls with it within a second.
        For the application's consumer, and for who manages the model."""
        put = pins.put(
            application, model, request.version, request.reason, condition, reach=reach_of(actor)
        )
        tagged(response, put.item, created=put.created)
        return put.item

    @router.delete(_PLACE, status_code=204, responses=errors(404, 412))
    def delete_pin(
        pins: ThePins, application: str, model: str, condition: Condition, actor: Owner
    ) -> None:
        """Remove a pin: calls go where the model's rollout says."""
        pins.delete(application, model, condition, reach=reach_of(actor))
