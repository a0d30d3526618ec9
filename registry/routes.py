"""The registry's part of the management API: one router, each route with the roles it allows."""

from fastapi import APIRouter

from registry.access import Require
from registry.routes_aliases import alias_router
from registry.routes_blobs import blob_router
from registry.routes_models import model_router
from registry.routes_versions import version_router
from registry.service import Registry


def registry_router(registry: Registry, require: Require) -> APIRouter:
    """All routes, to be mounted under ``/api/v1``. Errors are ``TollwayError`` throughout."""
    router = APIRouter()
    router.include_router(model_router(registry, require))
    router.include_router(version_router(registry, require))
    router.include_router(alias_router(registry, require))
    router.include_router(blob_router(registry, require))
    return router
