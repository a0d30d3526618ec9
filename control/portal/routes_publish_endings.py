"""How versions end: deprecation, who would notice, what may go; and who calls what."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.portal.api import ApiRefusal
from control.portal.editing import conditions, editing
from control.portal.forms import Form
from control.portal.publish_endings import (
    LABELS,
    brownouts,
    moment,
    rows,
    successors,
    texts,
    typed_texts,
)
from control.portal.publish_usage import callers
from control.portal.rendering import page, redirect
from control.portal.routes_publish import usage_of
from control.portal.session import TheForm, Visit
from control.portal.visitors import Publisher, PublishReader
from control.publishing import PublishedVersionItem
from control.resources import Page
from control.transition_resources import RetirementReport, TransitionReport
from protocol.errors import Code
from registry.outputs import EndingOutput, ModelOutput, VersionOutput

MAX_VERSIONS: Final = 100
SHOWN_CALLERS: Final = 50
"""On a page: each takes three lines."""
Days = Annotated[int, Query(ge=1, le=366)]
After = Annotated[str, Query(max_length=1000)]


def ending_pages() -> APIRouter:
    """``.../versions/{number}/deprecation``, ``.../retirement`` and ``.../callers``."""
    router = APIRouter()
    _add_reports(router)
    _add_changes(router)
    return router


async def deprecation_page(
    visit: Visit,
    model: str,
    number: int,
    days: int = 30,
    after: str = "",
    refusal: ApiRefusal | None = None,
    form: Form | None = None,
) -> Response:
    """The page, with what was refused of its form."""
    at = f"/models/{model}/versions/{number}"
    known, version, ending, others, report = await asyncio.gather(
        visit.api.get(f"/models/{model}", ModelOutput),
        visit.api.get_tagged(at, VersionOutput),
        _ending(visit, at),
        visit.api.get(
            f"/publishing/{model}/versions", Page[PublishedVersionItem], limit=MAX_VERSIONS
        ),
        visit.api.get(
            f"{at}/transition-report",
            TransitionReport,
            days=days,
            limit=SHOWN_CALLERS,
            after=after,
        ),
    )
    typed = None if form is None else typed_texts(form)
    edit = editing(LABELS, texts(ending), version.etag, form, refusal, typed)
    return page(
        visit,
        "publish/deprecation.html",
        status=200 if refusal is None else refusal.status,
        refusal=refusal,
        edit=edit,
        rows=rows(edit.values["brownouts"]),
        reason="" if form is None else form.text("reason"),
        model=known,
        version=version.item,
        ending=ending,
        successors=successors(others.items, number),
        report=report,
        after=after,
    )


def _add_reports(router: APIRouter) -> None:
    @router.get("/publish/models/{model}/versions/{number}/deprecation")
    async def get_deprecation_page(
        visit: PublishReader, model: str, number: int, days: Days = 30, after: After = ""
    ) -> Response:
        """How the version ends, who still calls it, and what its end would change for them."""
        return await deprecation_page(visit, model, number, days, after)

    @router.get("/publish/models/{model}/retirement")
    async def retirement_page(visit: PublishReader, model: str, days: Days = 30) -> Response:
        """What each version is good for, and what may go."""
        known, report = await asyncio.gather(
            visit.api.get(f"/models/{model}", ModelOutput),
            visit.api.get(f"/models/{model}/retirement-report", RetirementReport, days=days),
        )
        return page(visit, "publish/retirement.html", model=known, report=report)

    @router.get("/publish/models/{model}/callers")
    async def callers_page(
        visit: PublishReader, model: str, days: Days = 7, after: After = ""
    ) -> Response:
        """Which application calls which version."""
        known, usage = await asyncio.gather(
            visit.api.get(f"/models/{model}", ModelOutput),
            usage_of(visit, model, days=days, by="application,version", limit=100, after=after),
        )
        return page(
            visit,
            "publish/callers.html",
            model=known,
            callers=callers(usage),
            next=usage.next,
            days=days,
            after=after,
        )


def _add_changes(router: APIRouter) -> None:
    @router.post("/publish/models/{model}/versions/{number}/deprecation")
    async def deprecate(visit: Publisher, form: TheForm, model: str, number: int) -> Response:
        """Deprecate a version, or say anew how it ends."""
        successor = form.number("successor")
        body = {
            "sunset": moment(form.text("sunset")),
            "successor": successor,
            "note": form.text("note"),
            "brownouts": brownouts(form),
            "retire_at_sunset": form.flag("retire_at_sunset"),
            "reason": form.text("reason"),
        }
        at = f"/models/{model}/versions/{number}/deprecation"
        try:
            await visit.api.put(at, body, EndingOutput, **conditions(form))
        except ApiRefusal as refusal:
            return await deprecation_page(visit, model, number, refusal=refusal, form=form)
        return redirect(visit, f"/portal/publish{at}", notice="Saved. Callers read it in headers.")

    @router.post("/publish/models/{model}/versions/{number}/retire")
    async def retire(visit: Publisher, form: TheForm, model: str, number: int) -> Response:
        """Take the version out of service."""
        at = f"/models/{model}/versions/{number}"
        body = {"to": "retired", "reason": form.text("reason")}
        try:
            await visit.api.post(f"{at}/transitions", body, VersionOutput)
        except ApiRefusal as refusal:
            return await deprecation_page(visit, model, number, refusal=refusal)
        return redirect(visit, f"/portal/publish{at}", notice=f"Version {number} is retired.")


async def _ending(visit: Visit, at: str) -> EndingOutput | None:
    """How the version ends; None of one that is not deprecated."""
    try:
        return await visit.api.get(f"{at}/deprecation", EndingOutput)
    except ApiRefusal as refusal:
        if refusal.problem.code == Code.NOT_FOUND:
            return None
        raise
