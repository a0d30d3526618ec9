"""The page on which a reader tries a model with their own key."""

from fastapi import APIRouter
from fastapi.responses import Response

from control.portal.rendering import page
from control.portal.routes_model import Version, read_model
from control.portal.session import Anybody
from registry.outputs import ModelOutput


def try_pages() -> APIRouter:
    """``/portal/models/{model}/try``."""
    router = APIRouter()

    @router.get("/models/{model}/try")
    async def try_page(visit: Anybody, model: str, version: Version = None) -> Response:
        """The form; the reader's browser sends it to the gateway by itself."""
        shown = await read_model(visit, model, version)
        if isinstance(shown, ModelOutput):
            return page(visit, "catalogue/unpublished.html", model=shown)
        return page(
            visit,
            "catalogue/try.html",
            model=shown.model,
            form=shown.form,
            standing=shown.standing,
            version=version,
            base=f"/portal/models/{model}",
            asked=f"?version={version}" if version else "",
        )

    return router
