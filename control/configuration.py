"""Declarative configuration: what a file may say, and what applying it changes.

A section that is left out is not touched; so is an item that a section does not name, unless the
caller asks to prune. Within an item a field left out keeps its value, but a plan is put whole.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, Field

from control.plans import PlanRequest
from control.resources import Origins, Request, Resource, Title, no_nul
from registry.inputs import CaptureDays, CapturePercent, ColdStartWait, IdleUnload

MAX_ITEMS: Final = 5000
"""Items of one section: one transaction writes them all."""

Kind = Literal["alias", "application", "consumer", "model", "plan", "subscription"]
Action = Literal["create", "update", "delete"]
Description = Annotated[str, Field(max_length=20_000), AfterValidator(no_nul)]
Number = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]


class ModelSpec(Request):
    """What is said of a model, and where its traffic goes."""

    title: Title | None = None
    description: Description | None = None
    idle_unload_s: IdleUnload | None = None
    cold_start_wait_s: ColdStartWait | None = None
    capture_percent: CapturePercent | None = None
    capture_days: CaptureDays | None = None
    aliases: Annotated[dict[str, Number], Field(max_length=100)] | None = None
    """Alias -> version; `stable` gets the traffic of calls that name none."""


class ConsumerSpec(Request):
    """A consumer."""

    title: Title | None = None


class ApplicationSpec(Request):
    """An application."""

    consumer: str | None = None
    title: Title | None = None
    origins: Origins | None = None
    capture: Annotated[bool, Field(strict=True)] | None = None


class Configuration(Request):
    """A configuration, or a part of one. Never holds a secret."""

    plans: Annotated[dict[str, PlanRequest], Field(max_length=MAX_ITEMS)] | None = None
    consumers: Annotated[dict[str, ConsumerSpec], Field(max_length=MAX_ITEMS)] | None = None
    applications: Annotated[dict[str, ApplicationSpec], Field(max_length=MAX_ITEMS)] | None = None
    models: Annotated[dict[str, ModelSpec], Field(max_length=MAX_ITEMS)] | None = None
    subscriptions: (
        Annotated[
            dict[str, Annotated[dict[str, str], Field(max_length=MAX_ITEMS)]],
            Field(max_length=MAX_ITEMS),
        ]
        | None
    ) = None
    """Application -> model -> plan."""


class FieldChange(Resource):
    """A field's value before and after; null: there was, or will be, none."""

    before: Any
    after: Any


class ConfigurationChange(Resource):
    """One resource that differs."""

    kind: Kind
    key: str
    action: Action
    fields: dict[str, FieldChange]


class ConfigurationResult(Resource):
    """What was changed, or what would be."""

    applied: bool
    """False after a dry run: nothing was written."""
    changes: list[ConfigurationChange]


_UNCONFIGURED: Final = frozenset(
    {"created_at", "updated_at", "decided_at", "reason", "revision", "owner", "latest", "built_in"}
)
"""What resources show that nobody configures."""

State = Mapping[str, object]


def configured(resource: BaseModel | None) -> dict[str, object] | None:
    """The fields of a resource that a configuration decides."""
    if resource is None:
        return None
    shown = resource.model_dump(mode="json")
    return {name: value for name, value in shown.items() if name not in _UNCONFIGURED}


def change_of(
    kind: Kind, key: str, before: State | None, after: State | None
) -> ConfigurationChange | None:
    """The difference between two states of a resource; None when there is none."""
    if before == after:
        return None
    action: Action = "create" if before is None else "delete" if after is None else "update"
    was, now = before or {}, after or {}
    fields = {
        name: FieldChange(before=was.get(name), after=now.get(name))
        for name in sorted({*was, *now})
        if was.get(name) != now.get(name)
    }
    return ConfigurationChange(kind=kind, key=key, action=action, fields=fields)
