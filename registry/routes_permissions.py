"""Dependencies of routes about a model: who may use them, and how much of it they see."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

from fastapi import Depends

from registry.access import EVERYONE, Actor, Require, Role
from registry.routes_application import TheRegistry
from registry.routes_parameters import Model
from registry.service import Registry


class View(NamedTuple):
    """What an actor sees of a model."""

    actor: Actor
    whole: bool
    """False: its callable versions only."""


def managing(require: Require, *roles: Role) -> Callable[[Registry, str, Actor], Actor]:
    """A dependency that answers with the actor, if one of ``roles`` and managing the model."""
    allowed = Annotated[Actor, Depends(require(*roles))]

    def manager(registry: TheRegistry, model: Model, actor: allowed) -> Actor:
        registry.permissions.check_manages(actor, model)
        return actor

    return manager


def viewing(require: Require) -> Callable[[Registry, str, Actor], View]:
    """A dependency that answers with what the actor sees of the model, if anything."""
    allowed = Annotated[Actor, Depends(require(*EVERYONE))]

    def view(registry: TheRegistry, model: Model, actor: allowed) -> View:
        return View(actor, registry.permissions.check_sees(actor, model))

    return view
