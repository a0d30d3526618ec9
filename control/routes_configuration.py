"""Routes of declarative configuration."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from control.configuration import Configuration, ConfigurationResult
from control.identity.authentication import authorise
from control.middleware import require
from control.routes_conventions import READERS, WRITERS, errors
from control.routes_parts import part
from control.store.configuration import Configurations
from registry.access import Actor

Reader = Annotated[Actor, Depends(require(*READERS))]
"""Auditors compare; who may change is judged where something would be."""


TheConfigurations = Annotated[
    Configurations, Depends(part(lambda services: services.configurations))
]


def configuration_router() -> APIRouter:
    """``/configuration``."""
    router = APIRouter(tags=["configuration"])

    @router.get("/configuration", response_model_exclude_none=True, responses=errors())
    def export_configuration(configurations: TheConfigurations, actor: Reader) -> Configuration:
        """Read the present state as a configuration, as far as the caller reaches it."""
        return configurations.export(actor)

    @router.put("/configuration", responses=errors(404, 409, 422))
    def apply_configuration(
        configurations: TheConfigurations,
        wanted: Configuration,
        actor: Reader,
        dry_run: Annotated[
            bool, Query(description="Change nothing; answer with what would change.")
        ] = False,
        prune: Annotated[
            bool, Query(description="Delete what the sections sent do not name.")
        ] = False,
        reason: Annotated[
            str, Query(max_length=500, description="Why, for the audit log; `apply` if left out.")
        ] = "",
    ) -> ConfigurationResult:
        """Make everything as the configuration says, in one transaction. Repeating it changes
        nothing, and when anything is refused, nothing is changed."""
        if not dry_run:
            authorise(actor, WRITERS)
        return configurations.apply(wanted, actor, dry_run=dry_run, prune=prune, reason=reason)

    return router
