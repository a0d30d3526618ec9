"""Requirements of a model: what holds, its history, and the form that makes the next version."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter
from fastapi.responses import Response

from control.portal.api import ApiRefusal
from control.portal.publish_requirements import (
    MAX_RULES,
    RequirementsForm,
    errors,
    from_api,
    from_form,
    to_api,
)
from control.portal.rendering import page, redirect
from control.portal.routes_publish import present_requirements
from control.portal.session import TheForm, Visit, signed_in
from control.portal.visitors import PublishReader
from registry.outputs import ModelOutput, Page
from registry.requirements_inputs import RequirementsOutput

SHOWN: Final = 20
"""Versions that the history names."""
Writer = Annotated[Visit, signed_in("admin", "publisher", "sponsor")]


def requirements_pages() -> APIRouter:
    """``/portal/publish/models/{model}/requirements``."""
    router = APIRouter()

    @router.get("/publish/models/{model}/requirements")
    async def get_requirements_page(visit: PublishReader, model: str) -> Response:
        """The requirements, and the form."""
        return await requirements_page(visit, model)

    @router.post("/publish/models/{model}/requirements")
    async def write(visit: Writer, form: TheForm, model: str) -> Response:
        """Make the next version."""
        number = form.text("present")
        try:
            if number:
                held = await visit.api.get_tagged(
                    f"/models/{model}/requirements/{number}", RequirementsOutput
                )
                conditions = {"if_match": held.etag}
            else:
                conditions = {"if_none_match": "*"}
            made = await visit.api.put(
                f"/models/{model}/requirements", to_api(form), RequirementsOutput, **conditions
            )
        except ApiRefusal as refusal:
            return await requirements_page(visit, model, refusal, from_form(form))
        said = f"Requirements {made.number} hold from now on."
        if made.warnings:
            said += " But " + "; ".join(made.warnings)
        return redirect(visit, f"/portal/publish/models/{model}/requirements", notice=said)

    return router


async def requirements_page(
    visit: Visit,
    model: str,
    refusal: ApiRefusal | None = None,
    typed: RequirementsForm | None = None,
) -> Response:
    """The page, with what was refused of its form."""
    known, present = await asyncio.gather(
        visit.api.get(f"/models/{model}", ModelOutput), present_requirements(visit, model)
    )
    history: list[RequirementsOutput] = []
    if present is not None:
        found = await visit.api.get(
            f"/models/{model}/requirements/history",
            Page[RequirementsOutput],
            after=max(present.number - SHOWN, 0),
            limit=SHOWN,
        )
        history = found.items[::-1]
    return page(
        visit,
        "publish/requirements.html",
        status=200 if refusal is None else refusal.status,
        model=known,
        present=present,
        form=typed or from_api(present),
        errors=errors(refusal),
        history=history,
        max_rules=MAX_RULES,
    )
