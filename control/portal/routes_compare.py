"""Two versions side by side."""

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from control.portal.publish_compare import compare, criteria, matching
from control.portal.publish_models import approval_words, gate_words, open_criteria
from control.portal.publish_versions import manifest_of
from control.portal.rendering import page
from control.portal.session import Visit
from control.portal.visitors import PublishReader
from control.publishing import PublishedVersionItem
from control.resources import Page as ControlPage
from protocol.errors import Code, TollwayError
from registry.approval_bodies import GateOutput
from registry.evidence_inputs import EvidenceOutput
from registry.outputs import CompatibilityOutput, ModelOutput, Page, VersionOutput

MAX_EVALUATIONS: Final = 50
"""Of each, among which those on the same rows are looked for; the newest ones."""
MAX_VERSIONS: Final = 100
Number = Annotated[int, Query(ge=1, le=2**31 - 1)]


def compare_pages() -> APIRouter:
    """``/portal/publish/models/{model}/compare?a=3&b=4``."""
    router = APIRouter()

    @router.get("/publish/models/{model}/compare")
    async def compare_page(
        visit: PublishReader, model: str, a: Number = 1, b: Number = 2
    ) -> Response:
        """What changes from version ``a`` to version ``b``."""
        if a == b:
            raise TollwayError(Code.INVALID, "choose two different versions to compare")
        (known, others, fits), first, second = await asyncio.gather(
            asyncio.gather(
                visit.api.get(f"/models/{model}", ModelOutput),
                visit.api.get(
                    f"/publishing/{model}/versions",
                    ControlPage[PublishedVersionItem],
                    limit=MAX_VERSIONS,
                ),
                visit.api.get(
                    f"/models/{model}/versions/{a}/compatibility", CompatibilityOutput, following=b
                ),
            ),
            _version(visit, model, a),
            _version(visit, model, b),
        )
        return page(
            visit,
            "publish/compare.html",
            model=known,
            numbers=[(one.number, f"Version {one.number}, {one.state}") for one in others.items],
            fits=fits,
            a=first[0],
            b=second[0],
            first=manifest_of(first[0]),
            second=manifest_of(second[0]),
            gates=(first[1], second[1]),
            gate_words=gate_words,
            open_criteria=open_criteria,
            approval_words=approval_words,
            criteria=criteria(first[1], second[1]),
            comparison=compare(*matching(first[2].items, second[2].items)),
        )

    return router


async def _version(
    visit: Visit, model: str, number: int
) -> tuple[VersionOutput, GateOutput, Page[EvidenceOutput]]:
    at = f"/models/{model}/versions/{number}"
    return await asyncio.gather(
        visit.api.get(at, VersionOutput),
        visit.api.get(f"{at}/gate", GateOutput),
        visit.api.get(
            f"{at}/evidence", Page[EvidenceOutput], limit=MAX_EVALUATIONS, newest_first=True
        ),
    )
