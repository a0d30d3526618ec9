"""The portal's router: every area, guarded in one place."""

from typing import Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from control.portal.assets import DIGITS, FOREVER, PREFIX, assets
from control.portal.middleware import PORTAL
from control.portal.routes_account import account_pages
from control.portal.routes_applications import application_pages
from control.portal.routes_approvals import approval_pages
from control.portal.routes_audit import audit_pages
from control.portal.routes_catalogue import catalogue_pages
from control.portal.routes_entrance import entrance_pages
from control.portal.routes_issuers import issuer_pages
from control.portal.routes_keys import key_pages
from control.portal.routes_model import model_pages
from control.portal.routes_operate import operate_pages
from control.portal.routes_operate_lists import operate_list_pages
from control.portal.routes_pins import pin_pages
from control.portal.routes_plans import plan_pages
from control.portal.routes_publisher import publisher_pages
from control.portal.routes_reference import reference_pages
from control.portal.routes_rollout import rollout_pages
from control.portal.routes_shadows import shadow_pages
from control.portal.routes_subscriptions import subscription_pages
from control.portal.routes_traffic import traffic_pages
from control.portal.routes_try import try_pages
from control.portal.routes_usage import usage_pages
from control.portal.routes_users import user_pages
from control.portal.routes_webhooks import webhook_pages
from control.portal.session import guard
from protocol.errors import Code, TollwayError

_REVALIDATED: Final = "no-cache"

AREAS: Final = (
    catalogue_pages,
    model_pages,
    try_pages,
    reference_pages,
    entrance_pages,
    operate_pages,
    traffic_pages,
    audit_pages,
    user_pages,
    plan_pages,
    issuer_pages,
    operate_list_pages,
    subscription_pages,
    application_pages,
    key_pages,
    pin_pages,
    usage_pages,
    webhook_pages,
    account_pages,
    rollout_pages,
    shadow_pages,
    approval_pages,
    publisher_pages,
)
"""Each gives a router with paths below ``/portal``. A new area adds its line."""


def portal_router() -> APIRouter:
    """Every page, the assets, and the way from ``/`` to the front page."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(guard)])
    for area in AREAS:
        router.include_router(area(), prefix=PORTAL)

    @router.get("/")
    @router.get(f"{PORTAL}/models")
    async def to_portal() -> Response:
        """The front page."""
        return RedirectResponse(PORTAL, 307)

    @router.get(PREFIX + "/{digest}/{name}")
    async def get_asset(request: Request, digest: str, name: str) -> Response:
        """A file that pages load."""
        found = assets().get(name)
        if found is None or len(digest) != DIGITS:
            raise TollwayError(Code.NOT_FOUND, "there is no such file")
        # A page that was made before an update names the earlier digest: it gets the present file.
        kept = FOREVER if digest == found.digest else _REVALIDATED
        headers = {"Cache-Control": kept, "Vary": "Accept-Encoding", "ETag": f'"{found.digest}"'}
        content = found.content
        if "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["Content-Encoding"] = found.packed, "gzip"
        return Response(content, media_type=found.media_type, headers=headers)

    return router
