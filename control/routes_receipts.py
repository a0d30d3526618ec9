"""Routes of predictions: what answered one, and the payloads that were captured."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from control.captures import Capture, CapturePayload, CaptureReading, Removed
from control.middleware import require
from control.receipts import Receipt, Receipts
from control.resources import Page
from control.routes_conventions import OWNERS, After, Limit, errors
from control.routes_parts import part
from control.store.captures import Captures, Sought
from control.store.disagreements import DisagreementStore
from registry.access import EVERYONE, PUBLISHERS, Actor
from registry.routes_parameters import Model
from registry.routes_permissions import managing

Reader = Annotated[Actor, Depends(require(*EVERYONE))]
"""Each reads as far as they may know of the model; see :mod:`control.receipts`."""
PayloadReader = Annotated[Actor, Depends(require(*OWNERS))]
"""Payloads are for those who manage the model, and for who has sent them; not for auditors, who see
in the audit log who has read which."""
Manager = Annotated[Actor, Depends(managing(require, *PUBLISHERS))]
TheReceipts = Annotated[Receipts, Depends(part(lambda services: services.receipts))]
TheDisagreements = Annotated[
    DisagreementStore, Depends(part(lambda services: services.disagreements))
]
TheCaptures = Annotated[Captures, Depends(part(lambda services: services.captures))]
Application = Annotated[str | None, Query(max_length=63, description="Only of this.")]


def receipt_router() -> APIRouter:
    """``/predictions`` and ``/models/M/captures``."""
    router = APIRouter(tags=["predictions"])

    @router.get("/predictions/{prediction}", responses=errors(404))
    def get_receipt(receipts: TheReceipts, prediction: str, actor: Reader) -> Receipt:
        """Say what a prediction id stands for: version, artifact, runtime and configuration.

        Everybody may ask for ids of models in the catalogue; those who manage a model, and
        auditors, are told of the gateway and the processor as well.
        """
        return receipts.get(actor, prediction)

    @router.get("/predictions/{prediction}/capture", responses=errors(404))
    def get_capture(captures: TheCaptures, prediction: str, actor: PayloadReader) -> CapturePayload:
        """Read the captured payload of a prediction; that one has is in the audit log.

        For those who manage the model, and the consumer whose application has sent it.
        """
        return CaptureReading(captures).payload(actor, prediction)

    @router.get("/models/{model}/captures", responses=errors(404, 422))
    def list_captures(
        captures: TheCaptures,
        model: Model,
        _actor: Manager,
        application: Application = None,
        version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Only of it.")] = None,
        start: Annotated[
            AwareDatetime | None, Query(alias="from", description="Begin (RFC 3339).")
        ] = None,
        to: Annotated[AwareDatetime | None, Query(description="End.")] = None,
        limit: Limit = 100,
        after: After = "",
    ) -> Page[Capture]:
        """List the captured predictions of a model, the newest first, without their payloads."""
        sought = Sought(model, application, version, _ms(start), _ms(to))
        items, following = CaptureReading(captures).page(sought, limit, after)
        return Page(items=items, next=following)

    @router.delete("/models/{model}/captures", responses=errors(404, 422))
    def remove_captures(
        captures: TheCaptures,
        disagreements: TheDisagreements,
        model: Model,
        _actor: Manager,
        application: Application = None,
    ) -> Removed:
        """Remove the captured payloads of a model for good, or those of one application; with them
        the example rows of its disagreement reports. What is on its way then is not kept either."""
        removed = captures.remove(model, application)
        disagreements.forget_examples(model, application)
        return Removed(removed=removed)

    return router


def _ms(moment: AwareDatetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
