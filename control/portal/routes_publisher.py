"""The publisher's console: its pages in one router."""

from fastapi import APIRouter

from control.portal.routes_compare import compare_pages
from control.portal.routes_evaluate import evaluate_pages
from control.portal.routes_publish import publish_pages
from control.portal.routes_publish_endings import ending_pages
from control.portal.routes_publish_requirements import requirements_pages
from control.portal.routes_upload import upload_pages
from control.portal.routes_versions import version_pages


def publisher_pages() -> APIRouter:
    """``/portal/publish/...``."""
    router = APIRouter()
    for pages in (
        publish_pages,
        version_pages,
        compare_pages,
        ending_pages,
        requirements_pages,
        upload_pages,
        evaluate_pages,
    ):
        router.include_router(pages())
    return router
