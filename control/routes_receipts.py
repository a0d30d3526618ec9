"""Routes of predictions: what answered one."""

from typing import Annotated

from fastapi import APIRouter, Depends

from control.middleware import require
from control.receipts import Receipt, Receipts
from control.routes_conventions import errors
from control.routes_parts import part
from registry.access import EVERYONE, Actor

Reader = Annotated[Actor, Depends(require(*EVERYONE))]
"""Each reads as far as they may know of the model; see :mod:`control.receipts`."""
TheReceipts = Annotated[Receipts, Depends(part(lambda services: services.receipts))]


def receipt_router() -> APIRouter:
    """``/predictions``."""
    router = APIRouter(tags=["predictions"])

    @router.get("/predictions/{prediction}", responses=errors(404))
    def get_receipt(receipts: TheReceipts, prediction: str, actor: Reader) -> Receipt:
        """Say what a prediction id stands for: version, artifact, runtime and configuration.

        Everybody may ask for ids of models in the catalogue; those who manage a model, and
        auditors, are told of the gateway and the processor as well.
        """
        return receipts.get(actor, prediction)

    return router
