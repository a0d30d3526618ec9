"""Publishers' page of a version, and what it changes: state, aliases, the sponsor's word."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.evaluations.resources import EvaluationRuns
from control.portal.alias_forms import AliasForm, alias_form, put_alias
from control.portal.api import ApiRefusal
from control.portal.directions import isolated
from control.portal.live import live
from control.portal.publish_drawings import draw_gate
from control.portal.publish_evidence import evaluation_view, evidence_of
from control.portal.publish_models import steps
from control.portal.publish_versions import (
    explanation,
    files,
    listed,
    manifest_of,
    moves,
    observed,
    shape,
)
from control.portal.rendering import environment, page, redirect
from control.portal.routes_publish import present_requirements
from control.portal.session import TheForm, Visit
from control.portal.streams import Event
from control.portal.visitors import Publisher, PublishReader
from protocol.errors import Code, TollwayError
from registry.approval_bodies import ApprovalOutput, GateOutput
from registry.evidence_inputs import EvidenceOutput
from registry.gates import GATED
from registry.outputs import AliasOutput, ModelOutput, Page, TransitionOutput, VersionOutput
from registry.rollout_bodies import RolloutOutput

MAX_EVALUATIONS: Final = 10
"""That a page names at once; older ones are on pages of their own."""
_UNKNOWN: Final = (404, 422)
Chosen = Annotated[str, Query(alias="evidence", max_length=80)]
OlderThan = Annotated[int, Query(alias="older", ge=0, le=2**53 - 1)]


def version_pages() -> APIRouter:
    """``/portal/publish/models/{model}/versions/{number}``."""
    router = APIRouter()
    _add_page(router)
    _add_changes(router)
    _add_aliases(router)
    return router


async def version_page(
    visit: Visit,
    model: str,
    number: int,
    chosen: str = "",
    older: int = 0,
    refusal: ApiRefusal | None = None,
    pointed: AliasForm | None = None,
) -> Response:
    """The page, with what was refused of its forms; ``pointed``: of that of aliases. ``chosen``:
    the digest of the evaluation that it shows; ``older``: it names those from this cursor on."""
    at = f"/models/{model}/versions/{number}"
    (
        (known, rollout, agreed, runs),
        (version, gate, approvals, evidence, history),
    ) = await asyncio.gather(
        asyncio.gather(
            visit.api.get(f"/models/{model}", ModelOutput),
            visit.api.get(f"/models/{model}/rollout", RolloutOutput),
            present_requirements(visit, model),
            visit.api.get(f"{at}/evaluations", EvaluationRuns),
        ),
        asyncio.gather(
            visit.api.get(at, VersionOutput),
            visit.api.get(f"{at}/gate", GateOutput),
            visit.api.get(f"{at}/approvals", Page[ApprovalOutput]),
            visit.api.get(
                f"{at}/evidence",
                Page[EvidenceOutput],
                limit=MAX_EVALUATIONS,
                after=older,
                newest_first=True,
            ),
            visit.api.get(f"{at}/transitions", Page[TransitionOutput]),
        ),
    )
    named = evidence.items
    shown = next((one for one in named if one.digest == chosen), None)
    if shown is None and chosen:
        shown = await _evaluation(visit, at, chosen)
        named = named if shown is None else [shown, *named]
    if shown is None and named:
        shown = named[0]
    manifest = manifest_of(version)
    told = refusal if pointed is None else pointed.refusal
    return page(
        visit,
        "publish/version.html",
        status=200 if told is None else told.status,
        refusal=refusal,
        pointed=pointed or alias_form(known.aliases),
        model=known,
        version=version,
        manifest=manifest,
        files=files(manifest),
        explanation=explanation(manifest),
        shape=shape,
        observed=observed,
        listed=listed,
        choices=_choices(named),
        gate=gate,
        criteria=draw_gate(gate),
        steps=steps(version, gate, answers=_answers(rollout, number)),
        moves=moves(version),
        ready=lambda to: gate.passed if to in GATED else version.serving.state == "ready",
        approvals=approvals.items[::-1],
        older=older,
        next_older=evidence.next,
        running=[run for run in runs.items if run.state == "running"],
        evaluation=None if shown is None else evaluation_view(shown),
        history=history.items[::-1],
        aliases=sorted(name for name, held in known.aliases.items() if held == number),
        elsewhere=sorted(held for held in known.aliases.items() if held[1] != number),
        contract=None if agreed is None else agreed.contract,
    )


async def _evaluation(visit: Visit, at: str, digest: str) -> EvidenceOutput | None:
    """One that the page does not name; None: the version has none of this digest."""
    try:
        return await visit.api.get(f"{at}/evidence/{digest}", EvidenceOutput)
    except ApiRefusal as refusal:
        if refusal.status not in _UNKNOWN:
            raise
        return None


def _choices(evaluations: list[EvidenceOutput]) -> list[tuple[str, str]]:
    """(digest, what it is) of each evaluation."""
    found = []
    for output in evaluations:
        given = evidence_of(output)
        found.append(
            (
                output.digest,
                f"{isolated(given.rows_name)}, {given.rows:,} rows, {output.created_at[:10]}",
            )
        )
    return found


def _answers(rollout: RolloutOutput, number: int) -> bool:
    return number == rollout.stable or (
        rollout.canary is not None and rollout.canary.version == number
    )


def _add_page(router: APIRouter) -> None:
    @router.get("/publish/models/{model}/versions/{number}")
    async def get_version_page(
        visit: PublishReader, model: str, number: int, chosen: Chosen = "", older: OlderThan = 0
    ) -> Response:
        """One version: what it is, how well it does, and what stands in its way."""
        return await version_page(visit, model, number, chosen, older)

    @router.get("/publish/models/{model}/versions/{number}/events")
    async def version_events(visit: PublishReader, model: str, number: int) -> Response:
        """Where the version stands on its way, while it moves."""
        at = f"/models/{model}/versions/{number}"

        async def look() -> list[Event]:
            version, gate, rollout = await asyncio.gather(
                visit.api.get(at, VersionOutput),
                visit.api.get(f"{at}/gate", GateOutput),
                visit.api.get(f"/models/{model}/rollout", RolloutOutput),
            )
            shown = {
                "version": version,
                "steps": steps(version, gate, answers=_answers(rollout, number)),
            }
            template = environment().get_template("publish/standing.html")
            return [Event("standing", template.render(**shown))]

        return live(visit, look)


def _add_changes(router: APIRouter) -> None:
    @router.post("/publish/models/{model}/versions/{number}/transitions")
    async def move(visit: Publisher, form: TheForm, model: str, number: int) -> Response:
        """Take a step."""
        to = form.text("to")
        body = {"to": to, "reason": form.text("reason")}
        at = f"/models/{model}/versions/{number}"
        try:
            await visit.api.post(f"{at}/transitions", body, VersionOutput)
        except ApiRefusal as refusal:
            return await version_page(visit, model, number, refusal=refusal)
        return redirect(visit, f"/portal/publish{at}", notice=f"Version {number} is {to}.")

    @router.post("/publish/models/{model}/versions/{number}/loaded")
    async def load(visit: Publisher, form: TheForm, model: str, number: int) -> Response:
        """Have workers load or unload the version."""
        at = f"/models/{model}/versions/{number}"
        loaded = form.flag("loaded")
        try:
            await visit.api.patch(at, {"loaded": loaded}, VersionOutput)
        except ApiRefusal as refusal:
            return await version_page(visit, model, number, refusal=refusal)
        said = "Workers load the version." if loaded else "Workers let the version go."
        return redirect(visit, f"/portal/publish{at}", notice=said)

    @router.post("/publish/models/{model}/versions/{number}/approval-requests")
    async def ask(visit: Publisher, form: TheForm, model: str, number: int) -> Response:
        """Tell the sponsor that the version awaits their decision."""
        at = f"/models/{model}/versions/{number}"
        try:
            gate = await visit.api.post(
                f"{at}/approval-requests", {"note": form.text("note")}, GateOutput
            )
        except ApiRefusal as refusal:
            return await version_page(visit, model, number, refusal=refusal)
        notice = f"{gate.approval.sponsor} has been asked."
        return redirect(visit, f"/portal/publish{at}", notice=notice)


def _add_aliases(router: APIRouter) -> None:
    @router.post("/publish/models/{model}/versions/{number}/aliases")
    async def set_alias(visit: Publisher, form: TheForm, model: str, number: int) -> Response:
        """Point an alias at the version."""
        at = f"/portal/publish/models/{model}/versions/{number}"
        refused = await put_alias(visit.api, model, number, form)
        if refused is not None:
            return await version_page(visit, model, number, pointed=refused)
        return redirect(visit, at, notice=f"{form.text('alias')} points at version {number}.")

    @router.post("/publish/models/{model}/versions/{number}/aliases/{alias}/delete")
    async def delete_alias(visit: Publisher, model: str, number: int, alias: str) -> Response:
        """Remove an alias."""
        at = f"/portal/publish/models/{model}/versions/{number}"
        path = f"/models/{model}/aliases/{alias}"
        try:
            held = await visit.api.get_tagged(path, AliasOutput)
            if held.item.version != number:
                raise TollwayError(
                    Code.CONFLICT,
                    f"{alias} points at version {held.item.version} by now: nothing was removed",
                )
            await visit.api.delete(path, if_match=held.etag)
        except ApiRefusal as refusal:
            return await version_page(visit, model, number, refusal=refusal)
        return redirect(visit, at, notice=f"{alias} is removed.")
