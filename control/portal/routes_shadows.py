"""Pages of a model's shadows: which there are, and how their answers differ."""

from collections.abc import Sequence
from typing import Final, Literal

from fastapi import APIRouter
from fastapi.responses import Response

from control.portal.api import ApiRefusal, Tagged
from control.portal.editing import Conditions, conditions, editing, is_overtaken, overtaken
from control.portal.forms import Form
from control.portal.live import live
from control.portal.rendering import page, redirect, rendered
from control.portal.rollout_forms import LABELS, texts, typed
from control.portal.session import TheForm, Visit
from control.portal.shadows import ADD, SPANS, TOP, Told, read_overview, read_report, shares
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
        pressed = shares(version) if form.flag("share") else ADD
        return await _set(visit, form, pressed, model, conditions(form), wanted, said)

    @router.post(_PATH + "/{version}/end")
    async def end_shadow(visit: Publisher, form: TheForm, model: str, version: int) -> Response:
        """The version is a shadow no longer; its report stays."""
        present = await _present(visit, model)
        wanted = [one.model_dump() for one in present.item.shadow if one.version != version]
        said = f"Version {version} is a shadow no longer."
        # It takes this one away and nothing else, whatever the page showed.
        held: Conditions = {"if_match": present.etag}
        title = f"Version {version} was not ended:"
        return await _set(visit, form, TOP, model, held, wanted, said, title)


async def _present(visit: Visit, model: str) -> Tagged[RolloutOutput]:
    return await visit.api.get_tagged(f"/models/{model}/rollout", RolloutOutput)


async def _set(
    visit: Visit,
    form: Form,
    pressed: str,
    model: str,
    held: Conditions,
    wanted: Sequence[object],
    said: str,
    title: str = "Nothing was changed:",
) -> Response:
    """Write the whole list, if the rollout is still as ``held`` says; what is refused is told where
    it was ``pressed``, under ``title``."""
    body = {"shadow": wanted, "reason": form.text("reason")}
    try:
        await visit.api.put(f"/models/{model}/rollout", body, RolloutOutput, **held)
    except ApiRefusal as refusal:
        return await _refused(visit, model, pressed, form, refusal, title)
    return redirect(visit, f"/portal/publish/models/{model}/shadows", notice=said)


async def _page(visit: Visit, model: str) -> Response:
    overview = await read_overview(visit.api, model)
    opened = editing(LABELS, texts(overview.rollout), overview.etag)
    return page(visit, "shadows/list.html", overview=overview, opened=opened, told=None)


async def _refused(
    visit: Visit, model: str, pressed: str, form: Form, refusal: ApiRefusal, title: str
) -> Response:
    """The page as it is now, with what was refused; only the form that was sent holds what it
    held."""
    overview = await read_overview(visit.api, model)
    place = overview.place(pressed, form.text("version"))
    if not overview.is_form(place):
        refusal = overtaken(refusal, "the rollout")
    present = texts(overview.rollout)
    edit = editing(LABELS, present, overview.etag, form, refusal, typed(form), merges=False)
    text = "" if is_overtaken(refusal) else refusal.message
    return page(
        visit,
        "shadows/list.html",
        status=refusal.status,
        overview=overview,
        opened=editing(LABELS, present, overview.etag),
        told=Told(place=place, title=title, text=text, edit=edit, given=form.values()),
    )
