"""What the registry's API takes and gives, as the OpenAPI document shows it."""

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from protocol.configuration import VersionState
from protocol.manifest import ColumnType, Task
from protocol.names import NAME_PATTERN, check_name
from registry.bundle import MAX_PATH_CHARACTERS
from registry.clock import rfc3339
from registry.digests import DIGEST_PATTERN
from registry.publish import VersionRequest
from registry.status import ServingState, ServingStatus
from registry.store.aliases import AliasRecord, MoveRecord
from registry.store.blobs import BlobRecord
from registry.store.models import ModelRecord
from registry.store.uploads import UploadRecord
from registry.store.versions import TransitionRecord, VersionRecord

MAX_INTEGER = 2**31 - 1
MAX_EXACT = 2**53 - 1


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("text must not contain NUL")
    return text


Name = Annotated[
    str,
    AfterValidator(check_name),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN}),
]
Digest = Annotated[str, Field(pattern=DIGEST_PATTERN)]
Size = Annotated[int, Field(ge=0, le=MAX_EXACT)]
Number = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
Short = Annotated[str, Field(max_length=255), AfterValidator(_no_nul)]
Long = Annotated[str, Field(max_length=20_000), AfterValidator(_no_nul)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Label = Annotated[str, Field(max_length=10_000)] | int | Finite | bool


class _Input(BaseModel):
    """Unknown fields are refused: a misspelt one must not be lost in silence."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ModelInput(_Input):
    """A model's texts; one left out stays as it is."""

    title: Annotated[str, Field(max_length=200), AfterValidator(_no_nul)] | None = None
    description: Long | None = None


class BlobInput(_Input):
    """A blob that has been, or is about to be, uploaded."""

    digest: Digest
    size: Size


class FileInput(BlobInput):
    """An external data file and its path inside the bundle."""

    path: Annotated[str, Field(min_length=1, max_length=MAX_PATH_CHARACTERS)]


class ColumnInput(_Input):
    """One column of the training frame; see ``protocol.manifest.Column``."""

    name: Annotated[str, Field(max_length=1000)]
    type: ColumnType
    input: Annotated[str, Field(max_length=1000)]
    index: Annotated[int, Field(ge=0, le=MAX_INTEGER)] | None = None
    minimum: Finite | None = None
    maximum: Finite | None = None
    categories: (
        Annotated[list[Annotated[str, Field(max_length=10_000)]], Field(max_length=10_000)] | None
    ) = None
    null_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    null: Annotated[str, Field(max_length=1000)] | None = None


class ParityInput(_Input):
    """How the graph compares with the original estimator."""

    rows: Size
    max_abs_error: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    label_mismatches: Size = 0
    near_ties: Size = 0


class VersionInput(_Input):
    """A version to register. Inputs, outputs and opsets are read from the graph."""

    artifact: BlobInput
    files: Annotated[list[FileInput], Field(max_length=1000)] = []
    golden: BlobInput | None = None
    task: Task = "unknown"
    labels: Annotated[list[Label], Field(max_length=100_000)] = []
    columns: Annotated[list[ColumnInput], Field(max_length=20_000)] = []
    libraries: Annotated[dict[Short, Short], Field(max_length=500)] = {}
    conversion: Annotated[dict[Short, Long], Field(max_length=500)] = {}
    parity: ParityInput | None = None
    metrics: Annotated[dict[Short, Finite], Field(max_length=1000)] = {}
    description: Long = ""

    def request(self) -> VersionRequest:
        """The same for the domain."""
        return msgspec.convert(self.model_dump(), VersionRequest)


class LoadedInput(_Input):
    """Whether workers should hold the version."""

    loaded: bool


class TransitionInput(_Input):
    """The state that the version should take, and why."""

    to: VersionState
    reason: Annotated[str, Field(max_length=2000), AfterValidator(_no_nul)] = ""


class AliasInput(_Input):
    """The version that the alias should point at."""

    version: Number


class RolloutInput(_Input):
    """How the model's traffic should be answered."""

    stable: Number


class ModelOutput(BaseModel):
    """A model."""

    name: str
    title: str
    description: str
    aliases: dict[str, int]
    latest: int | None
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, record: ModelRecord) -> "ModelOutput":
        """From the store's record."""
        return cls(
            name=record.name,
            title=record.title,
            description=record.description,
            aliases=record.aliases,
            latest=record.latest,
            created_at=rfc3339(record.created_at),
            updated_at=rfc3339(record.updated_at),
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


class VersionOutput(BaseModel):
    """A version. ``manifest`` and its ``digest`` never change."""

    model: str
    number: int
    digest: str
    state: VersionState
    loaded: bool
    created_at: str
    created_by: str
    description: str
    manifest: dict[str, object]
    serving: ServingOutput

    @classmethod
    def of(cls, record: VersionRecord, serving: ServingStatus) -> "VersionOutput":
        """From the store's record and what the workers report."""
        return cls(
            model=record.model,
            number=record.number,
            digest=record.digest,
            state=record.state,
            loaded=record.loaded,
            created_at=rfc3339(record.created_at),
            created_by=record.created_by,
            description=record.manifest.description,
            manifest=msgspec.to_builtins(record.manifest),
            serving=ServingOutput.model_validate(msgspec.to_builtins(serving)),
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

    @classmethod
    def of(cls, record: MoveRecord) -> "MoveOutput":
        """From the store's record."""
        return cls(
            version=record.version,
            previous=record.previous,
            actor=record.actor,
            at=rfc3339(record.at),
        )


class RolloutOutput(BaseModel):
    """How the model's traffic is answered; null: calls that name no version are not."""

    stable: int | None


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
