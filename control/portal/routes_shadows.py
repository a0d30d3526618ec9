"""Pages of a model's shadows: which there are, and how their answers differ."""

from collections.abc import Sequence
from typing import Final, Literal

from fastapi import APIRouter
from fastapi.responses import Response

from control.portal.api import ApiRefusal, Tagged
from control.portal.editing import Conditions, conditions, editing
from control.portal.forms import Form
from control.portal.live import live
from control.portal.rendering import page, redirect, rendered
from control.portal.rollout_forms import LABELS, texts, typed
from control.portal.session import TheForm, Visit
from control.portal.shadows import SPANS, read_overview, read_report
from control.portal.streams import Event
from control.portal.visitors import Publisher, PublishReader
from registry.rollout_bodies import RolloutOutput

Span = Literal["24h", "7d", "30d"]
_PATH: Final = "/publish/models/{model}/shadows"


def shadow_pages() -> APIRouter:
    """``/portal/publish/models/M/shadows`` and ``.../shadows/V``."""
    router = APIRouter()
    _add_reads(router)
    _add_changes(router)
    return router


def _add_reads(router: APIRouter) -> None:
    @router.get(_PATH)
    async def shadows_page(visit: PublishReader, model: str) -> Response:
        """The shadows of a model."""
        return await _page(visit, model)

    @router.get(_PATH + "/{version}")
    async def shadow_page(
        visit: PublishReader, model: str, version: int, span: Span = "24h"
    ) -> Response:
        """How one shadow's answers differ."""
        report = await read_report(visit.api, model, version, span, visit.now_ms)
        return page(visit, "shadows/report.html", report=report, spans=SPANS)

    @router.get(_PATH + "/{version}/events")
    async def shadow_events(
        visit: PublishReader, model: str, version: int, span: Span = "24h"
    ) -> Response:
        """What moves on that page."""

        async def look() -> list[Event]:
            report = await read_report(visit.api, model, version, span, visit.now_ms)
            return [Event("figures", rendered(visit, "shadows/figures.html", report=report))]

        return live(visit, look, every_s=5.0)


def _add_changes(router: APIRouter) -> None:
    @router.post(_PATH)
    async def set_shadow(visit: Publisher, form: TheForm, model: str) -> Response:
        """Add a shadow, or set the share of one."""
        version, percent = form.number("version"), form.number("percent")
        changed = {"version": version, "percent": 100 if percent is None else percent}
        present = await _present(visit, model)
        shadows = present.item.shadow
        wanted = [changed if one.version == version else one.model_dump() for one in shadows]
        if changed not in wanted:
            wanted.append(changed)
        said = f"Version {form.text('version')} scores {changed['percent']} % of the requests."
        return await _set(visit, form, model, conditions(form), wanted, said)

    @router.post(_PATH + "/{version}/end")
    async def end_shadow(visit: Publisher, form: TheForm, model: str, version: int) -> Response:
        """The version is a shadow no longer; its report stays."""
        present = await _present(visit, model)
        wanted = [one.model_dump() for one in present.item.shadow if one.version != version]
        said = f"Version {version} is a shadow no longer."
        # It takes this one away and nothing else, whatever the page showed.
        return await _set(visit, form, model, {"if_match": present.etag}, wanted, said)


async def _present(visit: Visit, model: str) -> Tagged[RolloutOutput]:
    return await visit.api.get_tagged(f"/models/{model}/rollout", RolloutOutput)


async def _set(
    visit: Visit, form: Form, model: str, held: Conditions, wanted: Sequence[object], said: str
) -> Response:
    """Write the whole list, if the rollout is still as ``held`` says."""
    body = {"shadow": wanted, "reason": form.text("reason")}
    try:
        await visit.api.put(f"/models/{model}/rollout", body, RolloutOutput, **held)
    except ApiRefusal as refusal:
        return await _page(visit, model, form=form, refusal=refusal)
    return redirect(visit, f"/portal/publish/models/{model}/shadows", notice=said)


async def _page(
    visit: Visit, model: str, *, form: Form | None = None, refusal: ApiRefusal | None = None
) -> Response:
    overview = await read_overview(visit.api, model)
    present, asked = texts(overview.rollout), None if form is None else typed(form)
    return page(
        visit,
        "shadows/list.html",
        status=200 if refusal is None else refusal.status,
        overview=overview,
        edit=editing(LABELS, present, overview.etag, form, refusal, asked, merges=False),
        opened=editing(LABELS, present, overview.etag),
        given={} if form is None else form.values(),
        refusal=refusal,
    )
