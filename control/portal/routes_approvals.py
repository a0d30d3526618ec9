"""Pages of approvals: what is asked of sponsors, and their decisions."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, Response

from control.portal.api import ApiRefusal
from control.portal.approvals import SHOWN_EVIDENCE, read_desk, read_matter
from control.portal.forms import Form
from control.portal.live import live
from control.portal.rendering import page, redirect, rendered
from control.portal.session import TheForm, Visit, signed_in
from control.portal.streams import Event
from control.portal.visitors import EvidenceReader, Publisher
from registry.approval_bodies import ApprovalOutput, GateOutput, MatterOutput
from registry.outputs import Page

Sponsor = Annotated[Visit, signed_in("sponsor")]
After = Annotated[str, Query(max_length=80)]
MOST_COUNTED = 99
_ONE = "/approvals/{model}/{number}"


def approval_pages() -> APIRouter:
    """``/portal/approvals`` and ``/portal/approvals/M/V``."""
    router = APIRouter()
    _add_reads(router)
    _add_changes(router)
    return router


def _add_reads(router: APIRouter) -> None:
    @router.get("/approvals")
    async def approvals_page(
        visit: EvidenceReader, waiting: After = "", decided: After = ""
    ) -> Response:
        """What waits, and what was decided before."""
        desk = await read_desk(visit.api, waiting, decided)
        return page(
            visit, "approvals/list.html", desk=desk, waiting_after=waiting, decided_after=decided
        )

    @router.get("/approvals/events")
    async def approvals_events(
        visit: EvidenceReader, waiting: After = "", decided: After = ""
    ) -> Response:
        """What moves on that page."""

        async def look() -> list[Event]:
            desk = await read_desk(visit.api, waiting, decided)
            return [
                Event(
                    name,
                    rendered(
                        visit,
                        f"approvals/{name}.html",
                        desk=desk,
                        waiting_after=waiting,
                        decided_after=decided,
                    ),
                )
                for name in ("waiting", "decided")
            ]

        return live(visit, look, every_s=5.0)

    @router.get("/approvals/count")
    async def approvals_count(visit: Sponsor) -> Response:
        """How much is asked of the sponsor, for the navigation; nothing where nothing is."""
        found = await visit.api.get("/approvals", Page[MatterOutput], limit=MOST_COUNTED)
        count, more = len(found.items), "+" if found.next else ""
        text = f'{count}{more}<span class="unseen"> waiting</span>' if count else ""
        return HTMLResponse(text, headers={"Cache-Control": "no-store"})

    @router.get(_ONE)
    async def approval_page(visit: EvidenceReader, model: str, number: int) -> Response:
        """One version: what it has to fulfil, what is known of it, and the decision."""
        return await _page(visit, model, number)

    @router.get(_ONE + "/events")
    async def approval_events(visit: EvidenceReader, model: str, number: int) -> Response:
        """What moves on that page."""

        async def look() -> list[Event]:
            matter = await read_matter(visit.api, model, number)
            return [
                Event(name, rendered(visit, f"approvals/{name}.html", matter=matter))
                for name in ("standing", "criteria", "before")
            ]

        return live(visit, look, every_s=5.0)


def _add_changes(router: APIRouter) -> None:
    @router.post(_ONE + "/decision")
    async def decide(visit: Sponsor, form: TheForm, model: str, number: int) -> Response:
        """Approve or refuse; refused again where what was signed for is not what is there now."""
        body = {"decision": form.text("decision"), "reason": form.text("reason")}
        path = f"/models/{model}/versions/{number}"
        try:
            gate = await visit.api.get(f"{path}/gate", GateOutput)
            if _signed(form) != (gate.manifest_digest, gate.evidence_digest, gate.requirements):
                return await _page(visit, model, number, form=form, moved=True)
            done = await visit.api.post(f"{path}/approvals", body, ApprovalOutput)
        except ApiRefusal as refusal:
            return await _page(visit, model, number, form=form, refusal=refusal)
        said = "approved" if done.decision == "approve" else "refused"
        return redirect(
            visit, f"/portal/approvals/{model}/{number}", notice=f"Version {number} is {said}."
        )

    @router.post(_ONE + "/ask")
    async def ask(visit: Publisher, form: TheForm, model: str, number: int) -> Response:
        """Ask the sponsor for a decision."""
        path = f"/models/{model}/versions/{number}/approval-requests"
        await visit.api.post(path, {"note": form.text("note")}, GateOutput)
        return redirect(
            visit, f"/portal/approvals/{model}/{number}", notice="The sponsor was asked."
        )


def _signed(form: Form) -> tuple[str, str, object]:
    """What the page said that would be signed."""
    return form.text("manifest"), form.text("evidence"), form.number("requirements")


async def _page(
    visit: Visit,
    model: str,
    number: int,
    *,
    form: Form | None = None,
    refusal: ApiRefusal | None = None,
    moved: bool = False,
) -> Response:
    """``moved``: what the form was about has changed since it was shown."""
    matter = await read_matter(visit.api, model, number)
    status = refusal.status if refusal is not None else 409 if moved else 200
    return page(
        visit,
        "approvals/one.html",
        status=status,
        matter=matter,
        most_evidence=SHOWN_EVIDENCE,
        given={} if form is None else form.values(),
        refusal=refusal,
        moved=moved,
    )
