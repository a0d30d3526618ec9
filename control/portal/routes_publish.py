"""Publishers' pages of models: the list, a new one, and a model with its versions."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from control.portal.api import ApiRefusal, Tagged
from control.portal.editing import conditions, editing
from control.portal.forms import Form
from control.portal.publish_models import gate_badge, traffic, waits
from control.portal.publish_usage import calls_by_version, hourly
from control.portal.rendering import page, redirect
from control.portal.session import TheForm, Visit
from control.portal.visitors import After, Publisher, PublishReader, Search
from control.publishing import PublishedModel, PublishedVersionItem
from control.resources import Page
from control.usage_resources import UsagePage
from protocol.errors import Code
from registry.outputs import ModelOutput
from registry.requirements_inputs import RequirementsOutput
from registry.rollout_bodies import RolloutOutput

PAGE_MODELS: Final = 25
PAGE_VERSIONS: Final = 25
EDITED: Final = {
    "title": "Title",
    "description": "Description",
    "idle_unload_s": "Unload when idle",
    "cold_start_wait_s": "Wait for a cold start",
    "capture_percent": "Share that is captured",
    "capture_days": "Days",
}


def publish_pages() -> APIRouter:
    """``/portal/publish`` and ``/portal/publish/models/{model}``."""
    router = APIRouter()
    _add_list(router)
    _add_model(router)
    return router


def _add_list(router: APIRouter) -> None:
    @router.get("/publish")
    async def models_page(visit: PublishReader, search: Search = "", after: After = "") -> Response:
        """The models that one manages."""
        found = await visit.api.get(
            "/publishing",
            Page[PublishedModel],
            search=search or None,
            limit=PAGE_MODELS,
            after=after or None,
        )
        template = "publish/list.html" if visit.is_htmx else "publish/models.html"
        return page(
            visit,
            template,
            found=found,
            search=search,
            after=after,
            waits=waits,
            traffic=traffic,
        )

    @router.get("/publish/new")
    async def new_model_page(visit: Publisher) -> Response:
        """The form of a new model."""
        return page(visit, "publish/new.html", refusal=None, given={}, taken=False)

    @router.post("/publish/new")
    async def make_model(visit: Publisher, form: TheForm) -> Response:
        """Make a model."""
        name = form.text("name")
        body = {"title": form.text("title"), "description": form.text("description")}
        try:
            # A name that was taken must not be written over.
            await visit.api.put(f"/models/{name}", body, ModelOutput, if_none_match="*")
        except ApiRefusal as refusal:
            taken = refusal.problem.code == Code.PRECONDITION_FAILED
            return page(
                visit,
                "publish/new.html",
                status=refusal.status,
                refusal=refusal,
                given=form.values(),
                taken=taken,
            )
        notice = "The model is there. Bring its first version."
        return redirect(visit, f"/portal/publish/models/{name}", notice=notice)


def _add_model(router: APIRouter) -> None:
    @router.get("/publish/models/{model}")
    async def model_page(visit: PublishReader, model: str, after: After = "") -> Response:
        """One model with its versions."""
        known, versions, agreed, rollout, usage, hours = await asyncio.gather(
            visit.api.get(f"/models/{model}", ModelOutput),
            visit.api.get(
                f"/publishing/{model}/versions",
                Page[PublishedVersionItem],
                limit=PAGE_VERSIONS,
                after=after or None,
            ),
            present_requirements(visit, model),
            visit.api.get(f"/models/{model}/rollout", RolloutOutput),
            usage_of(visit, model, days=7, by="version"),
            usage_of(visit, model, days=1, by="version", step="hour"),
        )
        return page(
            visit,
            "publish/model.html",
            model=known,
            versions=versions,
            requirements=agreed,
            rollout=rollout,
            calls=calls_by_version(usage),
            chart=hourly(hours, visit.now_ms),
            gate_badge=gate_badge,
            after=after,
        )

    @router.get("/publish/models/{model}/edit")
    async def edit_page(visit: Publisher, model: str) -> Response:
        """The form of what is said of a model."""
        known = await visit.api.get_tagged(f"/models/{model}", ModelOutput)
        return _edit(visit, known)

    @router.post("/publish/models/{model}/edit")
    async def edit(visit: Publisher, form: TheForm, model: str) -> Response:
        """Change what is said of a model."""
        body = {
            "title": form.text("title"),
            "description": form.text("description"),
            "idle_unload_s": form.number("idle_unload_s"),
            "cold_start_wait_s": form.number("cold_start_wait_s"),
            "capture_percent": form.number("capture_percent"),
            "capture_days": form.number("capture_days"),
        }
        try:
            await visit.api.put(f"/models/{model}", body, ModelOutput, **conditions(form))
        except ApiRefusal as refusal:
            known = await visit.api.get_tagged(f"/models/{model}", ModelOutput)
            return _edit(visit, known, form, refusal)
        return redirect(visit, f"/portal/publish/models/{model}", notice="Saved.")


def _edit(
    visit: Visit,
    known: Tagged[ModelOutput],
    form: Form | None = None,
    refusal: ApiRefusal | None = None,
) -> Response:
    present = {name: str(getattr(known.item, name)) for name in EDITED}
    return page(
        visit,
        "publish/edit.html",
        status=200 if refusal is None else refusal.status,
        model=known.item,
        edit=editing(EDITED, present, known.etag, form, refusal),
        fields=list(EDITED),
        refusal=refusal,
    )


async def present_requirements(visit: Visit, model: str) -> RequirementsOutput | None:
    """The requirements that hold now; None of a model that has none."""
    try:
        return await visit.api.get(f"/models/{model}/requirements", RequirementsOutput)
    except ApiRefusal as refusal:
        if refusal.problem.code == Code.NOT_FOUND:
            return None
        raise


async def usage_of(
    visit: Visit,
    model: str,
    *,
    days: int,
    by: str,
    step: str | None = None,
    limit: int = 1000,
    after: str = "",
) -> UsagePage:
    """A page of the model's calls of the last days."""
    end = datetime.fromtimestamp(visit.now_ms / 1000, UTC)
    query = {"from": (end - timedelta(days=days)).isoformat(), "by": by, "step": step}
    return await visit.api.get(
        "/usage", UsagePage, model=model, limit=limit, after=after or None, **query
    )
