"""Pages of a model's rollout: what answers, and what moves it."""

from collections.abc import Mapping
from typing import Final, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from control.portal.api import ApiRefusal
from control.portal.editing import conditions, editing, overtaken, tag
from control.portal.forms import Form
from control.portal.live import live
from control.portal.rendering import page, redirect, rendered
from control.portal.rollout import breaking_changes, read_page, read_state
from control.portal.rollout_forms import (
    LABELS,
    Values,
    compares,
    default_values,
    given_values,
    guarded_body,
    share_body,
    stable_body,
    texts,
    typed,
)
from control.portal.session import TheForm, Visit
from control.portal.streams import Event
from control.portal.visitors import Publisher, PublishReader
from control.rollouts.callers import RolloutCallers
from protocol.errors import Code, TollwayError
from registry.canary_bodies import GuardedCanaryOutput
from registry.rollout_bodies import RolloutOutput

FRAGMENTS: Final = ("now", "guard", "actions", "timeline", "history", "rollback")
"""Parts of the page that move by themselves: ``templates/rollout/NAME.html``."""
SHOWN_CALLERS: Final = 200
DONE: Final[dict[str, str]] = {
    "pause": "Paused: it stays at its step, and is guarded all the same.",
    "resume": "Resumed: it goes on by itself.",
    "advance": "Advanced to its next step.",
    "abort": "Aborted: all of its traffic is the stable version's again.",
}
Action = Literal["pause", "resume", "advance", "abort"]
_PATH: Final = "/publish/models/{model}/rollout"


def rollout_pages() -> APIRouter:
    """``/portal/publish/models/M/rollout``."""
    router = APIRouter()
    _add_reads(router)
    _add_changes(router)
    _add_canary_actions(router)
    return router


def _add_reads(router: APIRouter) -> None:
    @router.get(_PATH)
    async def rollout_page(visit: PublishReader, model: str) -> Response:
        """What answers now, what is tried, and what was decided."""
        return await _page(visit, model)

    @router.get(_PATH + "/events")
    async def rollout_events(visit: PublishReader, model: str) -> Response:
        """What moves on the page."""

        async def look() -> list[Event]:
            state = await read_state(visit.api, model)
            return [
                Event(name, rendered(visit, f"rollout/{name}.html", state=state))
                for name in FRAGMENTS
            ]

        return live(visit, look)

    @router.get(_PATH + "/callers.json")
    async def rollout_callers(visit: PublishReader, model: str) -> Response:
        """Who would move, for the slider."""
        found = await visit.api.get(
            f"/models/{model}/rollout/callers", RolloutCallers, limit=SHOWN_CALLERS
        )
        return JSONResponse(found.model_dump(), headers={"Cache-Control": "no-store"})


def _add_changes(router: APIRouter) -> None:
    @router.post(_PATH + "/share")
    async def set_share(visit: Publisher, form: TheForm, model: str) -> Response:
        """A canary, or another share of it, by hand."""
        return await _change(visit, form, model, "share", share_body(form), "The share is set.")

    @router.post(_PATH + "/guarded")
    async def begin_guarded(visit: Publisher, form: TheForm, model: str) -> Response:
        """A guarded canary; compared with stable where its guard asks for it."""
        body = guarded_body(form)
        if compares(form):
            # What is added to is what the form was filled in for: else nothing is changed.
            present = await visit.api.get(f"/models/{model}/rollout", RolloutOutput)
            version = form.number("canary.version")
            shadows: list[object] = [one.model_dump() for one in present.shadow]
            if all(one.version != version for one in present.shadow):
                shadows.append({"version": version})
            body["shadow"] = shadows
        said = "The canary has begun."
        return await _change(visit, form, model, "guarded", body, said)

    @router.post(_PATH + "/stable")
    async def set_stable(visit: Publisher, form: TheForm, model: str) -> Response:
        """Another stable version."""
        said = f"Version {form.text('stable')} is stable now."
        return await _change(visit, form, model, "stable", stable_body(form), said)

    @router.post(_PATH + "/end")
    async def end_canary(visit: Publisher, form: TheForm, model: str) -> Response:
        """End a canary that is not guarded."""
        body = {"canary": None, "reason": form.text("reason")}
        path = f"/models/{model}/rollout"
        try:
            await visit.api.put(path, body, RolloutOutput, **conditions(form))
        except ApiRefusal as refusal:
            raise overtaken(refusal, "the rollout") from None
        return _back(visit, model, "The canary has ended: stable answers everybody.")

    @router.post(_PATH + "/rollback")
    async def roll_back(visit: Publisher, form: TheForm, model: str) -> Response:
        """The version that was stable before answers again, and the canary ends."""
        present, etag = await visit.api.get_tagged(f"/models/{model}/rollout", RolloutOutput)
        if form.number("to") != present.previous:
            # Somebody else was faster: rolling back twice would lead forward again.
            raise TollwayError(
                Code.CONFLICT, "the rollout has changed since you saw it: nothing was changed"
            )
        body = {"reason": form.text("reason")}
        found = await visit.api.post(
            f"/models/{model}/rollback", body, RolloutOutput, if_match=etag or None
        )
        return _back(visit, model, f"Rolled back: version {found.stable} answers now.")


def _add_canary_actions(router: APIRouter) -> None:
    @router.post(_PATH + "/canary/{action}")
    async def act(visit: Publisher, form: TheForm, model: str, action: Action) -> Response:
        """Pause, resume, advance or abort the guarded canary."""
        path, body = f"/models/{model}/rollout/{action}", {"reason": form.text("reason")}
        # Advanced twice by two people, it would skip a step. The others may always be repeated.
        held = tag(form) if action == "advance" else None
        try:
            await visit.api.post(path, body, GuardedCanaryOutput, if_match=held)
        except ApiRefusal as refusal:
            raise overtaken(refusal, "the canary") from None
        return _back(visit, model, DONE[action])


async def _change(
    visit: Visit,
    form: Form,
    model: str,
    tab: str,
    body: Mapping[str, object],
    done: str,
) -> Response:
    """Change the rollout; a refusal shows the form again, with what callers would trip over."""
    try:
        await visit.api.put(f"/models/{model}/rollout", body, RolloutOutput, **conditions(form))
    except ApiRefusal as refusal:
        return await _page(visit, model, tab=tab, form=form, refusal=refusal)
    return _back(visit, model, done)


async def _page(
    visit: Visit,
    model: str,
    *,
    tab: str = "",
    form: Form | None = None,
    refusal: ApiRefusal | None = None,
) -> Response:
    shown = await read_page(visit.api, model)
    broken: list[str] = []
    if refusal is not None and form is not None and refusal.problem.code == Code.INCOMPATIBLE:
        wanted = form.number("stable") or form.number("canary.version")
        assert isinstance(wanted, int | float)  # else the API would have named the field
        broken = await breaking_changes(visit.api, model, shown.state.rollout.stable, int(wanted))
    present, asked = texts(shown.state.rollout), None if form is None else typed(form)
    edit = editing(LABELS, present, shown.state.etag, form, refusal, asked, merges=False)
    guarded: Values = default_values()
    if form is not None and tab == "guarded":
        guarded = given_values(form)
    return page(
        visit,
        "rollout/change.html" if visit.is_htmx else "rollout/page.html",
        status=200 if refusal is None else refusal.status,
        shown=shown,
        state=shown.state,
        tab=tab,
        edit=edit,
        opened=editing(LABELS, present, shown.state.etag),
        given={} if form is None else form.values(),
        guarded=guarded,
        refusal=refusal,
        broken=broken,
    )


def _back(visit: Visit, model: str, notice: str) -> Response:
    return redirect(visit, f"/portal/publish/models/{model}/rollout", notice=notice)
