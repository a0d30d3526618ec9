"""Dependencies of routes about a model: who may use them, and how much of it they see."""

from collections.abc import Awaitable, Callable
from typing import Annotated, NamedTuple

from fastapi import Depends
from fastapi.concurrency import run_in_threadpool

from registry.access import EVERYONE, Actor, Require, Role
from registry.routes_application import TheRegistry
from registry.routes_parameters import Model
from registry.service import Registry


class View(NamedTuple):
    """What an actor sees of a model."""

    actor: Actor
    whole: bool
    """False: its callable versions only."""


def managing(require: Require, *roles: Role) -> Callable[[Registry, str, Actor], Awaitable[Actor]]:
    """A dependency that answers with the actor, if one of ``roles`` and managing the model."""
    allowed = Annotated[Actor, Depends(require(*roles))]

    async def manager(registry: TheRegistry, model: Model, actor: allowed) -> Actor:
        if not actor.manages_model(model):  # else nothing has to be looked up
            await run_in_threadpool(registry.permissions.check_manages, actor, model)
        return actor

    return manager


def viewing(require: Require) -> Callable[[Registry, str, Actor], Awaitable[View]]:
    """A dependency that answers with what the actor sees of the model, if anything."""
    allowed = Annotated[Actor, Depends(require(*EVERYONE))]

    async def view(registry: TheRegistry, model: Model, actor: allowed) -> View:
        if actor.manages_model(model):  # then nothing has to be looked up
            return View(actor, whole=True)
        whole = await run_in_threadpool(registry.permissions.check_sees, actor, model)
        return View(actor, whole)

    return view
