"""Evaluating a version by browser: the form, the evaluation while it runs, and its end."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response
from markupsafe import escape

from control.evaluations.resources import EvaluationRun, EvaluationRuns
from control.portal.api import ApiRefusal
from control.portal.evaluating import (
    FIELDS,
    Values,
    approval_lost,
    blank,
    evaluation_body,
    placed,
    refusal_of,
    values_of,
    without_rows,
)
from control.portal.live import live
from control.portal.publish_versions import manifest_of
from control.portal.rendering import page, redirect, rendered
from control.portal.routes_upload import brought
from control.portal.session import TheForm, Visit
from control.portal.streams import Event
from control.portal.visitors import Publisher, PublishReader
from registry.approval_bodies import GateOutput
from registry.outputs import ModelOutput, VersionOutput
from registry.rollout_bodies import RolloutOutput

EVERY_S: Final = 1.0
_GONE: Final = 404
_AT: Final = "/publish/models/{model}/versions/{number}"
Again = Annotated[str, Query(max_length=40, pattern=r"^[0-9a-f]*$")]


def evaluate_pages() -> APIRouter:
    """``.../versions/{number}/evaluate`` and ``.../evaluations/{id}``."""
    router = APIRouter()
    _add_form(router)
    _add_run(router)
    return router


def _add_form(router: APIRouter) -> None:
    @router.get(_AT + "/evaluate")
    async def evaluate_page(
        visit: Publisher, model: str, number: int, again: Again = ""
    ) -> Response:
        """What is to be evaluated; ``again``: as one was that failed."""
        if not again:
            return await _form_page(visit, model, number, blank())
        try:
            run = await visit.api.get(_path(model, number, again), EvaluationRun)
        except ApiRefusal as refusal:
            if refusal.status != _GONE:
                raise
            return await _form_page(visit, model, number, blank())
        return await _form_page(visit, model, number, values_of(run), refusal_of(run), status=200)

    @router.post(_AT + "/evaluate")
    async def evaluate(visit: Publisher, form: TheForm, model: str, number: int) -> Response:
        """Begin it, with a file that a script has brought or with what was pasted."""
        upload, pasted = form.text("upload"), ""
        try:
            if form.text("rows"):
                upload = pasted = await brought(visit, form.raw("rows").encode())
            if not upload:
                raise without_rows()
            body = evaluation_body(form, upload)
            run = await visit.api.post(_path(model, number), body, EvaluationRun)
        except ApiRefusal as refusal:
            if pasted:  # the lines are in the form again
                await visit.api.delete(f"/blobs/uploads/{pasted}")
            return await _form_page(visit, model, number, form.values(), placed(refusal))
        at = f"/portal/publish/models/{model}/versions/{number}/evaluations/{run.id}"
        return redirect(visit, at)


def _add_run(router: APIRouter) -> None:
    @router.get(_AT + "/evaluations/{id}")
    async def evaluation_page(visit: PublishReader, model: str, number: int, id: str) -> Response:
        """One that runs, or has ended."""
        known, run = await asyncio.gather(
            visit.api.get(f"/models/{model}", ModelOutput), _run(visit, model, number, id)
        )
        return page(
            visit,
            "publish/evaluation.html",
            status=200 if run is not None else _GONE,
            model=known,
            number=number,
            id=id,
            run=run,
        )

    @router.get(_AT + "/evaluations/{id}/events")
    async def evaluation_events(visit: PublishReader, model: str, number: int, id: str) -> Response:
        """How far it is, until it ends."""

        over = False

        async def look() -> list[Event] | None:
            nonlocal over
            if over:
                return None
            run = await _run(visit, model, number, id)
            home = f"/portal/publish/models/{model}"
            found = [
                Event(
                    name,
                    rendered(
                        visit,
                        f"publish/evaluation_{name}.html",
                        home=home,
                        number=number,
                        run=run,
                    ),
                )
                for name in ("steps", "end")
            ]
            found.append(Event("said", str(escape(_said(run)))))
            over = run is None or run.state != "running"
            if over:
                found.append(Event("ended", "ended"))  # the last: it closes the stream
            return found

        return live(visit, look, every_s=EVERY_S)

    @router.post(_AT + "/evaluations/{id}/cancel")
    async def cancel(visit: Publisher, model: str, number: int, id: str) -> Response:
        """End it."""
        await visit.api.delete(_path(model, number, id))
        at = f"/portal/publish/models/{model}/versions/{number}/evaluations/{id}"
        return redirect(visit, at)


async def _form_page(
    visit: Visit,
    model: str,
    number: int,
    given: Values,
    refusal: ApiRefusal | None = None,
    status: int | None = None,
) -> Response:
    at = f"/models/{model}/versions/{number}"
    known, version, runs, gate, rollout = await asyncio.gather(
        visit.api.get(f"/models/{model}", ModelOutput),
        visit.api.get(at, VersionOutput),
        visit.api.get(_path(model, number), EvaluationRuns),
        visit.api.get(f"{at}/gate", GateOutput),
        visit.api.get(f"/models/{model}/rollout", RolloutOutput),
    )
    answered = 200 if refusal is None else refusal.status
    headers = None
    if refusal is not None and refusal.retry_after_s is not None:
        headers = {"Retry-After": str(refusal.retry_after_s)}
    return page(
        visit,
        "publish/evaluate.html",
        status=answered if status is None else status,
        headers=headers,
        model=known,
        version=version,
        columns=[column.name for column in manifest_of(version).columns],
        runs=runs,
        warning=approval_lost(version, gate, rollout),
        given=given,
        fields=FIELDS,
        refusal=refusal,
    )


async def _run(visit: Visit, model: str, number: int, id: str) -> EvaluationRun | None:
    """None: control knows nothing of it any more."""
    try:
        return await visit.api.get(_path(model, number, id), EvaluationRun)
    except ApiRefusal as refusal:
        if refusal.status not in (_GONE, 422):  # what is no id is none that is known
            raise
        return None


def _said(run: EvaluationRun | None) -> str:
    """For who listens to the page."""
    if run is None:
        return "The evaluation was interrupted."
    ends = {"kept": "The evidence is kept.", "cancelled": "Cancelled.", "failed": "It failed."}
    return ends.get(run.state, f"{run.step}.".capitalize())


def _path(model: str, number: int, id: str = "") -> str:
    return f"/models/{model}/versions/{number}/evaluations" + (f"/{id}" if id else "")
