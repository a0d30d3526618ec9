"""Dependencies of routes about a model: who may use them, and how much of it they see."""

from collections.abc import Callable
from typing import Annotated, NamedTuple

from fastapi import Depends

from registry.access import EVERYONE, Actor, Require, Role
from registry.permissions import Permissions
from registry.routes_parameters import Model


class View(NamedTuple):
    """What an actor sees of a model."""

    actor: Actor
    whole: bool
    """False: its callable versions only."""


def managing(
    permissions: Permissions, require: Require, *roles: Role
) -> Callable[[str, Actor], Actor]:
    """A dependency that answers with the actor, if one of ``roles`` and managing the model."""
    allowed = Annotated[Actor, Depends(require(*roles))]

    def manager(model: Model, actor: allowed) -> Actor:
        permissions.check_manages(actor, model)
        return actor

    return manager


def viewing(permissions: Permissions, require: Require) -> Callable[[str, Actor], View]:
    """A dependency that answers with what the actor sees of the model, if anything."""
    allowed = Annotated[Actor, Depends(require(*EVERYONE))]

    def view(model: Model, actor: allowed) -> View:
        return View(actor, permissions.check_sees(actor, model))

    return view
