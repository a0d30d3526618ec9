"""What the API says of a model's rollout, gathered for its page: the number of calls does not grow
with what there is."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from control.pins import Pin
from control.portal.api import Api
from control.portal.rollout_guard import Guarded, guarded_of
from control.portal.rollout_picture import Picture, picture_of
from control.resources import Page
from control.rollouts.callers import RolloutTraffic
from protocol.configuration import CALLABLE_STATES
from protocol.manifest import Manifest
from registry.canary_bodies import CanaryDecisionOutput, CanaryTraceOutput
from registry.compatibility import differences
from registry.outputs import ModelOutput, VersionOutput
from registry.outputs import Page as RegistryPage
from registry.rollout_bodies import RolloutChangeOutput, RolloutOutput

SHOWN_DECISIONS: Final = 25
SHOWN_CHANGES: Final = 20
SHOWN_PINS: Final = 200
SHOWN_VERSIONS: Final = 40
"""The newest, which forms offer."""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What moves."""

    model: ModelOutput
    rollout: RolloutOutput
    etag: str
    """Under which it may be changed; empty: nothing is set."""
    picture: Picture
    guarded: Guarded | None
    decisions: Sequence[CanaryDecisionOutput]
    changes: Sequence[RolloutChangeOutput]


class Choice(msgspec.Struct, frozen=True):
    """A version that a form offers."""

    number: int
    label: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The page."""

    state: State
    versions: tuple[Choice, ...]
    """That may be called, the newest first."""


async def read_state(api: Api, model: str) -> State:
    """Everything that moves on the page. Raises :class:`ApiRefusal`."""
    known, (rollout, etag), pins, traffic, decisions, changes = await asyncio.gather(
        api.get(f"/models/{model}", ModelOutput),
        api.get_tagged(f"/models/{model}/rollout", RolloutOutput),
        api.get(f"/models/{model}/pins", Page[Pin], limit=SHOWN_PINS),
        api.get(f"/models/{model}/rollout/traffic", Page[RolloutTraffic]),
        api.get(
            f"/models/{model}/rollout/decisions",
            Page[CanaryDecisionOutput],
            limit=SHOWN_DECISIONS,
            order="newest",
        ),
        api.get(
            f"/models/{model}/rollout/history",
            RegistryPage[RolloutChangeOutput],
            limit=SHOWN_CHANGES,
            order="newest",
        ),
    )
    trace = None
    if rollout.guarded is not None:
        trace = await api.get(f"/models/{model}/rollout/evidence", CanaryTraceOutput)
    recent = {(one.variant, one.version): one.requests for one in traffic.items}
    return State(
        model=known,
        rollout=rollout,
        etag=etag,
        picture=picture_of(rollout, pins.items, known.aliases, recent),
        guarded=guarded_of(rollout.guarded, trace),
        decisions=decisions.items,
        changes=changes.items,
    )


async def read_page(api: Api, model: str) -> Shown:
    """The whole page. Raises :class:`ApiRefusal`."""
    state = await read_state(api, model)
    versions = await read_versions(api, state.model)
    return Shown(state=state, versions=versions)


async def read_versions(api: Api, model: ModelOutput) -> tuple[Choice, ...]:
    """The versions that may be called, the newest first."""
    found = await api.get(
        f"/models/{model.name}/versions",
        RegistryPage[VersionOutput],
        limit=SHOWN_VERSIONS,
        after=max((model.latest or 0) - SHOWN_VERSIONS, 0),
    )
    return tuple(
        Choice(one.number, f"Version {one.number}: {_standing(one)}")
        for one in reversed(found.items)
        if one.state in CALLABLE_STATES
    )


async def breaking_changes(api: Api, model: str, before: int | None, after: int) -> list[str]:
    """What callers of one version could trip over at the other, in words."""
    if before is None:
        return []
    found = await asyncio.gather(
        *(
            api.get(f"/models/{model}/versions/{number}", VersionOutput)
            for number in (before, after)
        )
    )
    present, following = (msgspec.convert(one.manifest, Manifest) for one in found)
    return differences(present, following)


def _standing(version: VersionOutput) -> str:
    serving = "not loaded" if version.serving.state == "none" else version.serving.state
    return f"{version.state}, {serving}"
