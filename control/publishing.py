"""What publishers see of their models at a glance: what answers, and what waits for whom."""

from typing import Final, Literal

from control.catalogue import Latency
from control.resources import Resource
from control.transition_resources import QualityItem
from protocol.configuration import VersionState
from registry.gates import Standing
from registry.status import ServingState

Waits = Literal["load", "gate", "approval", "publish", "sunset"]
WAITING_STATES: Final[frozenset[VersionState]] = frozenset({"registered", "validated", "approved"})
"""Of a newest version in one of these something is still to be done before it may be called."""
MAX_REASONS: Final = 3


class Waiting(Resource):
    """What is to be done for a version."""

    what: Waits
    """`load`: no engine has loaded it yet; `gate`: a criterion is not met; `approval`: the
    sponsor's word is missing; `publish`: nothing is in the way; `sunset`: a deprecated version's
    end is near, at `due`."""
    version: int
    text: str
    """In words."""
    due: str | None = None


class PublishedVersion(Resource):
    """A version by its number."""

    number: int
    state: VersionState


class GateStanding(Resource):
    """What the present requirements say of a version."""

    passed: bool
    criteria: int
    met: int
    failed: int
    approval: Standing


class PublishedVersionItem(PublishedVersion):
    """A version with what one compares it by."""

    digest: str
    description: str
    task: str
    created_at: str
    created_by: str
    aliases: list[str]
    loaded: bool
    serving: ServingState
    bytes: int
    """Of everything that the version needs; 0 of a remote one."""
    remote: bool
    evaluations: int
    quality: QualityItem | None
    gate: GateStanding | None
    """Null: the model has no requirements, or the version has ended."""
    sunset: str | None


class CanaryShare(Resource):
    """The version that answers some of the applications which name no version."""

    version: int
    percent: float


class PublishedModel(Resource):
    """A model that one manages."""

    name: str
    title: str
    owner: str
    created_at: str
    updated_at: str
    versions: int
    latest: PublishedVersion | None
    stable: PublishedVersion | None
    canary: CanaryShare | None
    shadows: list[int]
    """Versions that score requests beside."""
    waiting: list[Waiting]
    latency: Latency | None = None
    """Null: nobody has called it in the last 7 days."""
