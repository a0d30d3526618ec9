"""What the routes of evidence take, with the bounds of every field, and what they give."""

from typing import Annotated, Literal, Self

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from protocol.errors import Code, TollwayError
from protocol.evidence import Evidence
from registry.clock import rfc3339
from registry.inputs import MAX_EXACT, Digest, Finite, Name, Number, no_nul
from registry.store.evidence import EvidenceRecord

MAX_METRICS = 200
MAX_SEGMENTS = 1000
MAX_CLASSES = 1000
MAX_COLUMNS = 2000

MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(no_nul)]
Library = Annotated[str, Field(max_length=100), AfterValidator(no_nul)]
Count = Annotated[int, Field(ge=0, le=MAX_EXACT)]
Milliseconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Input(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class MeasuredInput(_Input):
    """A metric's value and the interval around it."""

    value: Finite
    low: Finite | None = None
    high: Finite | None = None

    @model_validator(mode="after")
    def _is_an_interval(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low: lies above high")
        return self


Metrics = Annotated[dict[MetricName, MeasuredInput], Field(max_length=MAX_METRICS)]


class SegmentInput(_Input):
    """The metrics of the rows that satisfy a condition."""

    segment: Text
    rows: Count
    metrics: Metrics


class ClassInput(_Input):
    """The metrics of one class against all others."""

    label: Annotated[str, Field(max_length=500), AfterValidator(no_nul)]
    rows: Count
    metrics: Metrics


class ImportanceInput(_Input):
    """By how much the main metric gets worse when a column is shuffled."""

    column: Text
    mean: Finite
    deviation: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LatencyInput(_Input):
    """Time of one-row requests."""

    requests: Count
    p50_ms: Milliseconds
    p99_ms: Milliseconds
    measured: Literal["engine", "answer"] = "engine"


class ResamplingInput(_Input):
    """How intervals and importances were made."""

    intervals: Literal["percentile bootstrap"] = "percentile bootstrap"
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    resamples: Count
    seed: Count
    importance_repeats: Count = 0
    importance_rows: Count = 0


class EvidenceInput(_Input):
    """One evaluation; see ``protocol.evidence``. ``model`` and ``version`` may be left out: they
    are those of the path."""

    format: Annotated[Literal["tollway.evidence/1"], Field(alias="schema")] = "tollway.evidence/1"
    model: Name | None = None
    version: Number | None = None
    manifest_digest: Digest
    rows_name: Annotated[Text, Field(max_length=100)] = "holdout"
    rows: Annotated[int, Field(ge=1, le=MAX_EXACT)]
    rows_digest: Digest
    main_metric: MetricName
    metrics: Annotated[Metrics, Field(min_length=1)]
    segments: Annotated[list[SegmentInput], Field(max_length=MAX_SEGMENTS)] = []
    classes: Annotated[list[ClassInput], Field(max_length=MAX_CLASSES)] = []
    positive: Annotated[str, Field(max_length=500), AfterValidator(no_nul)] | None = None
    importance: Annotated[list[ImportanceInput], Field(max_length=MAX_COLUMNS)] = []
    latency: LatencyInput | None = None
    resampling: ResamplingInput | None = None
    libraries: Annotated[dict[Library, Library], Field(max_length=100)] = {}

    @model_validator(mode="after")
    def _is_consistent(self) -> "EvidenceInput":
        if self.main_metric not in self.metrics:
            raise ValueError(f"main_metric {self.main_metric!r} is not among the metrics")
        names = [one.segment for one in self.segments]
        if len(set(names)) < len(names):
            raise ValueError("two segments have one name")
        return self

    def evidence(self, model: str, version: int) -> Evidence:
        """The same for the domain. Raises ``CONFLICT`` when it names another version."""
        for said, meant in ((self.model, model), (self.version, version)):
            if said not in (None, meant):
                raise TollwayError(
                    Code.CONFLICT,
                    f"the evidence is of {said!r}, the path names {meant!r}: send it where it "
                    "belongs",
                )
        given = self.model_dump(by_alias=True) | {"model": model, "version": version}
        return msgspec.convert(given, Evidence)


class EvidenceOutput(BaseModel):
    """One evaluation as it is kept. ``digest`` is of ``evidence`` in canonical JSON (RFC 8785)."""

    digest: str
    created_at: str
    created_by: str
    evidence: dict[str, object]

    @classmethod
    def of(cls, record: EvidenceRecord) -> "EvidenceOutput":
        """From the store's record."""
        return cls(
            digest=record.digest,
            created_at=rfc3339(record.created_at),
            created_by=record.created_by,
            evidence=msgspec.to_builtins(record.evidence),
        )
