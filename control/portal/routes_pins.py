"""Pages of the version that answers an application, and of what another one would change."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from control.captures import Capture, CapturePayload
from control.pins import Pin
from control.portal.api import ApiRefusal
from control.portal.applications import MANY
from control.portal.editing import conditions, editing, overtaken, tag
from control.portal.forms import Form
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.upgrading import read_pin
from control.portal.visitors import Owner, Witness
from control.resources import Application, Page, Subscription

REPLAYED: Final = 20
"""Captured requests that the preview scores again, each a call of the application."""
LABELS: Final = {"version": "Version", "reason": "Reason"}
Number = Annotated[int | None, Query(ge=1, le=2**31 - 1)]
From = Annotated[int | None, Query(alias="from", ge=1, le=2**31 - 1)]


def pin_pages() -> APIRouter:
    """``/portal/applications/A/pins`` and ``/portal/applications/A/captures``."""
    router = APIRouter(prefix="/applications/{application}")
    _add_pages(router)
    _add_changes(router)
    _add_captures(router)
    return router


def _add_pages(router: APIRouter) -> None:
    @router.get("/pins")
    async def pins_page(visit: Witness, application: str) -> Response:
        """Which version of each model answers."""
        found, subscriptions, pins = await asyncio.gather(
            visit.api.get(f"/applications/{application}", Application),
            visit.api.get(
                "/subscriptions", Page[Subscription], application=application, limit=MANY
            ),
            visit.api.get(f"/applications/{application}/pins", Page[Pin], limit=MANY),
        )
        pinned = {pin.model: pin for pin in pins.items}
        models = sorted({*pinned, *(one.model for one in subscriptions.items)})
        return page(
            visit,
            "applications/pins.html",
            application=found,
            rows=[(model, pinned.get(model)) for model in models],
        )

    @router.get("/pins/{model}")
    async def pin_page(
        visit: Witness, application: str, model: str, start: From = None, to: Number = None
    ) -> Response:
        """One model: pin it, and see what another version would change."""
        return await _one(visit, application, model, start, to)


def _add_changes(router: APIRouter) -> None:
    @router.post("/pins/{model}")
    async def put_pin(visit: Owner, form: TheForm, application: str, model: str) -> Response:
        """Pin the application to a version."""
        body = {"version": form.number("version"), "reason": form.text("reason")}
        try:
            pin = await visit.api.put(
                f"/applications/{application}/pins/{model}", body, Pin, **conditions(form)
            )
        except ApiRefusal as refusal:
            return await _one(
                visit, application, model, form=form, refusal=refusal.beside("version")
            )
        return redirect(
            visit,
            f"/portal/applications/{application}/pins/{model}",
            notice=f"Version {pin.version} answers from now on.",
        )

    @router.post("/pins/{model}/remove")
    async def remove_pin(visit: Owner, form: TheForm, application: str, model: str) -> Response:
        """Let calls go where the publisher leads them."""
        try:
            await visit.api.delete(f"/applications/{application}/pins/{model}", if_match=tag(form))
        except ApiRefusal as refusal:
            return await _one(visit, application, model, refusal=overtaken(refusal, "the pin"))
        return redirect(
            visit,
            f"/portal/applications/{application}/pins/{model}",
            notice="The pin is removed: calls go where the publisher leads them.",
        )


def _add_captures(router: APIRouter) -> None:
    @router.get("/captures/{model}.json")
    async def captures(
        visit: Owner, application: str, model: str, version: Number = None
    ) -> Response:
        """The newest captured requests that a version answered, for the browser to send again."""
        found = await visit.api.get(
            f"/applications/{application}/captures/{model}",
            Page[Capture],
            version=version,
            limit=REPLAYED,
        )
        return JSONResponse([one.model_dump() for one in found.items])

    @router.get("/captured/{prediction}.json")
    async def captured(visit: Owner, prediction: str) -> Response:
        """One of them, with request and answer."""
        found = await visit.api.get(f"/predictions/{prediction}/capture", CapturePayload)
        return JSONResponse(found.model_dump())


async def _one(
    visit: Visit,
    application: str,
    model: str,
    start: int | None = None,
    to: int | None = None,
    form: Form | None = None,
    refusal: ApiRefusal | None = None,
) -> Response:
    shown = await read_pin(visit, application, model, start, to)
    pin = shown.pin
    present = {
        "version": "not pinned" if pin is None else str(pin.version),
        "reason": "" if pin is None else pin.reason,
    }
    edit = editing(LABELS, present, shown.pin_etag, form, refusal)
    offered = shown.chosen[1] if shown.chosen else shown.answering
    return page(
        visit,
        "applications/pin.html",
        status=200 if refusal is None else refusal.status,
        shown=shown,
        edit=edit,
        version=offered if form is None else edit.values["version"],
        replayed=REPLAYED,
        refusal=refusal,
    )
