"""Requirements of a model: what holds, its history, and the form that makes the next version."""

import asyncio
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from control.portal.api import ApiRefusal
from control.portal.editing import conditions, editing
from control.portal.forms import Form
from control.portal.publish_requirements import (
    LABELS,
    MAX_RULES,
    errors,
    from_api,
    from_form,
    merged,
    texts,
    to_api,
)
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.visitors import Publisher, PublishReader
from protocol.errors import Code
from registry.outputs import ModelOutput, Page
from registry.requirements_inputs import RequirementsOutput

SHOWN: Final = 20
"""Versions that the history names."""


def requirements_pages() -> APIRouter:
    """``/portal/publish/models/{model}/requirements``."""
    router = APIRouter()

    @router.get("/publish/models/{model}/requirements")
    async def get_requirements_page(visit: PublishReader, model: str) -> Response:
        """The requirements, and the form."""
        return await requirements_page(visit, model)

    @router.post("/publish/models/{model}/requirements")
    async def write(visit: Publisher, form: TheForm, model: str) -> Response:
        """Make the next version."""
        try:
            made = await visit.api.put(
                f"/models/{model}/requirements",
                to_api(form),
                RequirementsOutput,
                **conditions(form),
            )
        except ApiRefusal as refusal:
            return await requirements_page(visit, model, refusal, form)
        said = f"Requirements {made.number} hold from now on."
        if made.warnings:
            said += " But " + "; ".join(made.warnings)
        return redirect(visit, f"/portal/publish/models/{model}/requirements", notice=said)

    return router


async def requirements_page(
    visit: Visit,
    model: str,
    refusal: ApiRefusal | None = None,
    form: Form | None = None,
) -> Response:
    """The page, with what was refused of its form."""
    known, (present, etag) = await asyncio.gather(
        visit.api.get(f"/models/{model}", ModelOutput), _present(visit, model)
    )
    holds, typed = from_api(present), None if form is None else from_form(form)
    edit = editing(
        LABELS, texts(holds), etag, form, refusal, None if typed is None else texts(typed)
    )
    shown = merged(typed or holds, holds, edit.values) if edit.late else typed or holds
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
        form=shown,
        edit=edit,
        errors={} if edit.late else errors(refusal),
        history=history,
        max_rules=MAX_RULES,
    )


async def _present(visit: Visit, model: str) -> tuple[RequirementsOutput | None, str]:
    try:
        return await visit.api.get_tagged(f"/models/{model}/requirements", RequirementsOutput)
    except ApiRefusal as refusal:
        if refusal.problem.code != Code.NOT_FOUND:
            raise
        return None, ""
