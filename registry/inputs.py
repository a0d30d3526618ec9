"""What the registry's API takes, with the bounds of every field."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, Self

import msgspec
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from protocol.configuration import BrownoutDoc, DeprecationDoc, VersionState
from protocol.manifest import ColumnType, Task
from protocol.names import NAME_PATTERN, check_name
from registry.bundle import MAX_PATH_CHARACTERS
from registry.deprecation_rules import MAX_BROWNOUTS
from registry.digests import DIGEST_PATTERN
from registry.publish import VersionRequest

MAX_INTEGER = 2**31 - 1
_UNIX_BEGINS = 1970
_ROUNDING = 1e-6
MAX_EXACT = 2**53 - 1


def no_nul(text: str) -> str:
    """Refuse what PostgreSQL does not take as text."""
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
Short = Annotated[str, Field(max_length=255), AfterValidator(no_nul)]
Long = Annotated[str, Field(max_length=20_000), AfterValidator(no_nul)]
Why = Annotated[str, Field(max_length=2000), AfterValidator(no_nul)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Example = (
    Annotated[str, Field(max_length=1000), AfterValidator(no_nul)]
    | Annotated[int, Field(ge=-MAX_EXACT, le=MAX_EXACT)]
    | Finite
    | bool
)
Label = Annotated[str, Field(max_length=10_000)] | int | Finite | bool


class _Input(BaseModel):
    """Unknown fields are refused: a misspelt one must not be lost in silence."""

    model_config = ConfigDict(extra="forbid", strict=True)


IdleUnload = Annotated[
    int,
    Field(
        ge=0,
        le=30 * 86_400,
        description="Seconds without a call after which workers let a version go until it is "
        "called again; 0: never.",
    ),
]
ColdStartWait = Annotated[
    int,
    Field(
        ge=0,
        le=600,
        description="Seconds that a call may wait for its version to be loaded, within its "
        "deadline; 0: it is refused with 503 and Retry-After meanwhile.",
    ),
]


def _in_tenths(percent: float) -> float:
    if abs(percent * 10 - round(percent * 10)) > _ROUNDING:
        raise ValueError("shares are in steps of 0.1 percent")
    return percent


CapturePercent = Annotated[
    float,
    Field(
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Share of the predictions whose payload is captured, in steps of 0.1; 0: none.",
    ),
    AfterValidator(_in_tenths),
]
CaptureDays = Annotated[
    int, Field(ge=1, le=366, description="Days for which a captured payload is kept.")
]


def permille(percent: float | None) -> int | None:
    """Tenths of a percent."""
    return None if percent is None else round(percent * 10)


class ModelInput(_Input):
    """What is said of a model; what is left out stays as it is."""

    title: Annotated[str, Field(max_length=200), AfterValidator(no_nul)] | None = None
    description: Long | None = None
    idle_unload_s: IdleUnload | None = None
    cold_start_wait_s: ColdStartWait | None = None
    capture_percent: CapturePercent | None = None
    capture_days: CaptureDays | None = None


class BlobInput(_Input):
    """A blob that has been, or is about to be, uploaded."""

    digest: Digest
    size: Size


class UploadInput(BlobInput):
    """An upload that is announced."""

    fresh: bool = False
    """Whether the bytes come even where there is a blob of them: for what takes an upload, and
    makes no blob of it, as an evaluation does."""


class FileInput(BlobInput):
    """An external data file and its path inside the bundle."""

    path: Annotated[str, Field(min_length=1, max_length=MAX_PATH_CHARACTERS)]


class InspectionInput(_Input):
    """An artifact that was uploaded, and the external data files beside it."""

    artifact: BlobInput
    files: Annotated[list[FileInput], Field(max_length=1000)] = []


_EXAMPLES: Final[Mapping[ColumnType, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "float": (int, float),
}
"""Types that an example may have, by the column's; a boolean is no number."""


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
    example: Example | None = None
    """A value to be shown to callers: in forms and samples."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.example is not None and type(self.example) not in _EXAMPLES[self.type]:
            raise ValueError(f"example: is no value of type {self.type}")
        return self


class ParityInput(_Input):
    """How the graph compares with the original estimator."""

    rows: Size
    max_abs_error: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    tolerance: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    label_mismatches: Size = 0
    near_ties: Size = 0


class TensorInput(_Input):
    """An input or output that a remote server does not describe itself; -1 in ``shape`` is a
    dimension of any size."""

    name: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(no_nul)]
    datatype: Literal[
        "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
        "FP16", "BF16", "FP32", "FP64", "BYTES",
    ]  # fmt: skip
    shape: Annotated[list[Annotated[int, Field(ge=-1, le=MAX_EXACT)]], Field(max_length=64)]
    optional: bool = False


class RemoteInput(_Input):
    """A model on another server of the Open Inference Protocol; see
    ``protocol.manifest.Remote``."""

    url: Annotated[str, Field(min_length=1, max_length=2000)]
    model: Annotated[str, Field(min_length=1, max_length=255), AfterValidator(no_nul)]
    version: Annotated[str, Field(max_length=255), AfterValidator(no_nul)] = ""
    credential: Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9-]*$")] = ""
    binary: bool | None = None
    timeout_ms: Annotated[int, Field(ge=1, le=600_000)] = 30_000
    connect_timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = 2_000
    inputs: Annotated[list[TensorInput], Field(max_length=1000)] = []
    outputs: Annotated[list[TensorInput], Field(max_length=1000)] = []


class VersionInput(_Input):
    """A version to register, from an artifact or a remote server: one of them. Inputs, outputs
    and opsets are read from the graph, or the server's metadata."""

    artifact: BlobInput | None = None
    remote: RemoteInput | None = None
    files: Annotated[list[FileInput], Field(max_length=1000)] = []
    golden: BlobInput | None = None
    background: Annotated[
        BlobInput | None, Field(description="Rows that explanations compare with.")
    ] = None
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
        left_out = {name for name in ("remote", "background") if getattr(self, name) is None}
        given = self.model_dump(exclude=left_out)
        for column in given["columns"]:
            if column["example"] is None:
                del column["example"]
        return msgspec.convert(given, VersionRequest)


class LoadedInput(_Input):
    """Whether workers should hold the version."""

    loaded: bool


class TransitionInput(_Input):
    """The state that the version should take, and why."""

    to: VersionState
    reason: Why = ""


def _unix(moment: datetime) -> datetime:
    if moment.year <= _UNIX_BEGINS:
        raise ValueError("times before 1971 are none of this system's")
    return moment


Moment = Annotated[AwareDatetime, Field(strict=False), AfterValidator(_unix)]
"""A time as RFC 3339 has it; fractions of a second are dropped."""


class BrownoutInput(_Input):
    """A while in which calls that name the version are refused with 410."""

    start: Moment
    end: Moment


class DeprecationInput(_Input):
    """How a version ends; what is left out is not decided."""

    since: Annotated[
        Moment | None, Field(description="Left out: since it was deprecated first, or now.")
    ] = None
    sunset: Annotated[
        Moment | None, Field(description="When the version may go out of service.")
    ] = None
    successor: Annotated[
        Number | None, Field(description="The published version that callers should move to.")
    ] = None
    note: Annotated[str, Field(max_length=2000), AfterValidator(no_nul)] = ""
    brownouts: Annotated[list[BrownoutInput], Field(max_length=MAX_BROWNOUTS)] = []
    retire_at_sunset: Annotated[
        bool, Field(description="Whether the version is retired when its sunset comes.")
    ] = False
    reason: Annotated[str, Field(max_length=2000), AfterValidator(no_nul)] = ""

    def document(self) -> DeprecationDoc:
        """The same for the domain; ``since`` is 0 where it is left out."""
        return DeprecationDoc(
            since=0 if self.since is None else _seconds(self.since),
            sunset=None if self.sunset is None else _seconds(self.sunset),
            successor=self.successor,
            note=self.note,
            brownouts=tuple(
                BrownoutDoc(start=_seconds(window.start), end=_seconds(window.end))
                for window in self.brownouts
            ),
            retire_at_sunset=self.retire_at_sunset,
        )


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


class AliasInput(_Input):
    """The version that the alias should point at. ``force``, with a ``reason``, allows one that
    breaks callers."""

    version: Number
    force: bool = False
    reason: Why = ""
