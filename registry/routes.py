"""The registry's part of the management API: one router, each route with the roles it allows."""

from fastapi import APIRouter

from registry.access import Require
from registry.routes_aliases import alias_router
from registry.routes_approvals import approval_router
from registry.routes_blobs import blob_router
from registry.routes_deprecation import deprecation_router
from registry.routes_evidence import evidence_router
from registry.routes_models import model_router
from registry.routes_requirements import requirements_router
from registry.routes_rollouts import rollout_router
from registry.routes_versions import version_router


def registry_router(require: Require) -> APIRouter:
    """All routes, to be mounted under ``/api/v1``. Errors are ``TollwayError`` throughout.

    They work on the ``app.state.registry`` of whichever application they are part of.
    """
    router = APIRouter()
    router.include_router(model_router(require))
    router.include_router(version_router(require))
    router.include_router(requirements_router(require))
    router.include_router(approval_router(require))
    router.include_router(evidence_router(require))
    router.include_router(deprecation_router(require))
    router.include_router(alias_router(require))
    router.include_router(rollout_router(require))
    router.include_router(blob_router(require))
    return router
