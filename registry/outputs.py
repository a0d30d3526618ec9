"""What the registry's API gives, as the OpenAPI document shows it."""

from typing import Generic, Literal, TypeVar

import msgspec
from pydantic import BaseModel, Field

from protocol.configuration import DeprecationDoc, VersionState
from registry.clock import rfc3339
from registry.gates import Standing
from registry.inspect import Inspection
from registry.status import ServingState, ServingStatus
from registry.store.aliases import AliasRecord, MoveRecord
from registry.store.blobs import BlobRecord
from registry.store.models import ModelRecord
from registry.store.transitions import TransitionRecord
from registry.store.uploads import UploadRecord
from registry.store.versions import VersionRecord


class ModelOutput(BaseModel):
    """A model."""

    name: str
    title: str
    description: str
    owner: str | None
    """Who owns it; null for those who do not manage it."""
    aliases: dict[str, int]
    latest: int | None
    created_at: str
    updated_at: str
    idle_unload_s: int
    """Seconds without a call after which workers let a version go; 0: never."""
    cold_start_wait_s: int
    """Seconds that a call may wait for its version to be loaded; 0: it is refused meanwhile."""
    capture_percent: float
    """Share of the predictions whose payload is captured; 0: none."""
    capture_days: int
    """Days for which a captured payload is kept."""

    @classmethod
    def of(cls, record: ModelRecord) -> "ModelOutput":
        """From the store's record."""
        return cls(
            name=record.name,
            title=record.title,
            description=record.description,
            owner=record.owner,
            aliases=record.aliases,
            latest=record.latest,
            created_at=rfc3339(record.created_at),
            updated_at=rfc3339(record.updated_at),
            idle_unload_s=record.idle_unload_s,
            cold_start_wait_s=record.cold_start_wait_s,
            capture_percent=record.capture_permille / 10,
            capture_days=record.capture_days,
        )


class EngineOutput(BaseModel):
    """One engine of the version."""

    worker: str
    slot: int
    state: str
    error: str


class ServingOutput(BaseModel):
    """Whether the workers can answer for the version."""

    state: ServingState
    engines: list[EngineOutput]
    error: str


class BrownoutOutput(BaseModel):
    """A while in which calls that name the version are refused with 410."""

    start: str
    end: str


class DeprecationOutput(BaseModel):
    """How a version ends."""

    since: str
    sunset: str | None
    """When it may go out of service; of a retired version, no later than when it went."""
    successor: int | None
    note: str
    brownouts: list[BrownoutOutput]
    retire_at_sunset: bool

    @classmethod
    def of(cls, document: DeprecationDoc) -> "DeprecationOutput":
        """From the version's document."""
        return cls(
            since=rfc3339(document.since * 1000),
            sunset=None if document.sunset is None else rfc3339(document.sunset * 1000),
            successor=document.successor,
            note=document.note,
            brownouts=[
                BrownoutOutput(start=rfc3339(one.start * 1000), end=rfc3339(one.end * 1000))
                for one in document.brownouts
            ],
            retire_at_sunset=document.retire_at_sunset,
        )


class EndingOutput(DeprecationOutput):
    """How a version ends, and how far that has come."""

    model: str
    number: int
    state: VersionState
    held_by: list[str]
    """What sends calls to it: it cannot be retired before that is moved or ended."""
    retired_at: str | None
    artifact_kept_until: str | None
    """When the artifact of a retired version may be deleted."""


class VersionOutput(BaseModel):
    """A version. ``manifest`` and its ``digest`` never change."""

    model: str
    number: int
    digest: str
    state: VersionState
    loaded: bool
    approval: Standing | None
    """How the sponsor's word stands; null for those who do not manage the model. `outdated`: what
    it was given for has changed since; a published version stays, and needs a new one for its next
    step or for traffic."""
    created_at: str
    created_by: str
    description: str
    manifest: dict[str, object]
    serving: ServingOutput
    deprecation: DeprecationOutput | None
    """Of versions that are deprecated or retired."""

    @classmethod
    def of(
        cls, record: VersionRecord, serving: ServingStatus, approval: Standing | None
    ) -> "VersionOutput":
        """From the store's record and what the workers report."""
        return cls(
            model=record.model,
            number=record.number,
            digest=record.digest,
            state=record.state,
            loaded=record.loaded,
            approval=approval,
            created_at=rfc3339(record.created_at),
            created_by=record.created_by,
            description=record.manifest.description,
            manifest=msgspec.to_builtins(record.manifest),
            serving=ServingOutput.model_validate(msgspec.to_builtins(serving)),
            deprecation=None
            if record.deprecation is None
            else DeprecationOutput.of(record.deprecation),
        )


class TransitionOutput(BaseModel):
    """One step in a version's life; ``from`` is null for its registration."""

    from_: str | None = Field(alias="from")
    to: str
    actor: str
    reason: str
    digest: str
    at: str

    @classmethod
    def of(cls, record: TransitionRecord) -> "TransitionOutput":
        """From the store's record."""
        return cls.model_validate(
            {
                "from": record.from_state,
                "to": record.to_state,
                "actor": record.actor,
                "reason": record.reason,
                "digest": record.digest,
                "at": rfc3339(record.at),
            }
        )


class CompatibilityOutput(BaseModel):
    """Whether a version can take another's place without its callers noticing."""

    model: str
    version: int
    """The one that callers use."""
    following: int
    """The one that would take its place."""
    compatible: bool
    differences: list[str]
    """Everything that callers could trip over, in words."""


class InspectionOutput(BaseModel):
    """What an artifact's graph says of itself."""

    digest: str
    inputs: list[dict[str, object]]
    outputs: list[dict[str, object]]
    """As the manifest has them."""
    opsets: dict[str, int]
    ir_version: int
    additive: bool
    """Whether some output is a sum of functions of single inputs: then explanations are exact."""

    @classmethod
    def of(cls, digest: str, found: Inspection) -> "InspectionOutput":
        """From the domain."""
        return cls.model_validate(
            msgspec.to_builtins(found) | {"digest": digest, "additive": bool(found.additive)}
        )


class AliasOutput(BaseModel):
    """Where an alias points."""

    model: str
    alias: str
    version: int
    updated_at: str

    @classmethod
    def of(cls, record: AliasRecord) -> "AliasOutput":
        """From the store's record."""
        return cls(
            model=record.model,
            alias=record.alias,
            version=record.version,
            updated_at=rfc3339(record.updated_at),
        )


class MoveOutput(BaseModel):
    """One move of an alias; ``version`` is null where it was deleted."""

    version: int | None
    previous: int | None
    actor: str
    at: str
    reason: str
    rollback: bool
    """It went back to the version that was there before the present one came."""

    @classmethod
    def of(cls, record: MoveRecord) -> "MoveOutput":
        """From the store's record."""
        return cls(
            version=record.version,
            previous=record.previous,
            actor=record.actor,
            at=rfc3339(record.at),
            reason=record.reason,
            rollback=record.rollback,
        )


class UploadOutput(BaseModel):
    """An upload under way; ``expires_at`` is put off with every piece."""

    id: str
    offset: int
    digest: str
    size: int
    expires_at: str
    exists: Literal[False] = False

    @classmethod
    def of(cls, record: UploadRecord, offset: int) -> "UploadOutput":
        """From the store's record and how far it has come."""
        return cls(
            id=record.id,
            offset=offset,
            digest=record.digest,
            size=record.size,
            expires_at=rfc3339(record.expires_at),
        )


class PresentOutput(BaseModel):
    """The blob is there already: nothing needs to be uploaded."""

    exists: Literal[True] = True
    digest: str
    size: int


class BlobOutput(BaseModel):
    """A blob that is there."""

    digest: str
    size: int

    @classmethod
    def of(cls, record: BlobRecord) -> "BlobOutput":
        """From the store's record."""
        return cls(digest=record.digest, size=record.size)


Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """One page of a list. ``next`` is the ``after`` of the following page, null on the last."""

    items: list[Item]
    next: str | None
