"""Routes of evaluations that control runs: for who has rows in a file and no Python at hand."""

from functools import partial
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Request, Response

from control.evaluations.resources import EvaluationInput, EvaluationRun, EvaluationRuns
from control.evaluations.runs import Evaluations, Holder
from control.identity.authentication import bearer
from control.middleware import require
from control.routes_conventions import errors
from control.routes_parts import part
from control.services import Services
from registry.access import EVIDENCE_READERS, PUBLISHERS, Actor
from registry.routes_application import TheRegistry
from registry.routes_parameters import Model, VersionNumber
from registry.routes_permissions import managing

_PATH = "/models/{model}/versions/{number}/evaluations"
EvaluationId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Of the evaluation.")]
TheEvaluations = Annotated[Evaluations, Depends(part(lambda services: services.evaluations))]


def evaluation_router() -> APIRouter:
    """``/models/M/versions/V/evaluations``."""
    router = APIRouter(tags=["versions"])
    reader = Annotated[Actor, Depends(managing(require, *EVIDENCE_READERS))]
    publisher = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]
    services = Annotated[Services, Depends(part(lambda services: services))]

    @router.post(_PATH, status_code=201, responses=errors(404, 409, 413, 422, 503))
    async def begin_evaluation(
        registry: TheRegistry,
        evaluations: TheEvaluations,
        parts: services,
        model: Model,
        number: VersionNumber,
        body: EvaluationInput,
        request: Request,
        response: Response,
        actor: publisher,
    ) -> EvaluationRun:
        """Begin an evaluation of the rows in an upload, as the client library's command makes it:
        the version's engine is asked with the caller's own credential, and the evidence is kept as
        theirs. It ends with the session or token that began it. Of evaluations a few run at once;
        more are answered 503."""
        run_sync = anyio.to_thread.run_sync
        await run_sync(partial(registry.versions.get, model, number))
        creator = None if actor.models is None else actor.name
        await run_sync(partial(registry.uploads.get, body.upload, creator))
        take = partial(registry.uploads.take, body.upload, parts.settings.evaluation_max_bytes)
        authorization = request.headers.get("authorization", "").encode()
        run = await evaluations.start(
            model,
            number,
            body,
            partial(run_sync, take),
            Holder(
                actor.name,
                (bearer(authorization) or b"").decode(),
                partial(parts.authenticator.stands, authorization),
            ),
        )
        response.headers["Location"] = (
            f"/api/v1/models/{model}/versions/{number}/evaluations/{run.id}"
        )
        return run

    @router.get(_PATH, responses=errors(404))
    async def list_evaluations(
        registry: TheRegistry,
        evaluations: TheEvaluations,
        parts: services,
        model: Model,
        number: VersionNumber,
        _actor: reader,
    ) -> EvaluationRuns:
        """List the version's evaluations that control runs or has run lately, and say whether the
        control process that answers can run more."""
        await anyio.to_thread.run_sync(partial(registry.versions.get, model, number))
        reason = evaluations.unavailable
        return EvaluationRuns(
            items=await evaluations.of(model, number),
            available=not reason,
            unavailable=reason,
            max_bytes=parts.settings.evaluation_max_bytes,
            max_rows=parts.settings.evaluation_max_rows,
        )

    @router.get(_PATH + "/{id}", responses=errors(404))
    async def get_evaluation(
        evaluations: TheEvaluations,
        model: Model,
        number: VersionNumber,
        id: EvaluationId,
        _actor: reader,
    ) -> EvaluationRun:
        """Read how far an evaluation is, and how it ended."""
        return await evaluations.get(model, number, id)

    @router.delete(_PATH + "/{id}", status_code=204, responses=errors(404))
    async def cancel_evaluation(
        evaluations: TheEvaluations,
        model: Model,
        number: VersionNumber,
        id: EvaluationId,
        _actor: publisher,
    ) -> None:
        """End an evaluation that runs; one that has ended stays as it is."""
        await evaluations.cancel(model, number, id)

    return router
