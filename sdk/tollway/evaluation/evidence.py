"""What an evaluation finds: frozen, typed, and in the form in which the server keeps it."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A metric's value, and the ends of its confidence interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentEvidence:
    """The metrics of the rows that satisfy a condition."""

    segment: str
    rows: int
    metrics: dict[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassEvidence:
    """How well a classifier tells one class from the others."""

    label: str
    rows: int
    metrics: dict[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """By how much the main metric gets worse when a column is shuffled: mean and standard
    deviation over the repeats."""

    column: str
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLatency:
    """Time of one-row requests. ``measured``: ``engine``, queue and run as the engine reports them;
    ``answer``: until the client had the answer."""

    requests: int
    p50_ms: float
    p99_ms: float
    measured: str = "engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How intervals and importances were made."""

    resamples: int
    seed: int
    intervals: str = "percentile bootstrap"
    confidence: float = 0.95
    importance_repeats: int = 0
    importance_rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One evaluation of one version.

    ``rows_digest`` is the same for evaluations of the same rows; ``manifest_digest`` is that of the
    version. ``digest``, ``created_at`` and ``created_by`` are empty until the server has it.
    """

    model: str
    version: int
    manifest_digest: str
    rows: int
    rows_digest: str
    main_metric: str
    metrics: dict[str, Measured]
    rows_name: str = "holdout"
    segments: tuple[SegmentEvidence, ...] = ()
    classes: tuple[ClassEvidence, ...] = ()
    positive: str | None = None
    importance: tuple[Importance, ...] = ()
    latency: MeasuredLatency | None = None
    resampling: Resampling | None = None
    libraries: dict[str, str] = field(default_factory=dict)
    digest: str = ""
    created_at: str = ""
    created_by: str = ""

    def __getitem__(self, metric: str) -> float:
        """The value of a metric over all rows."""
        return self.metrics[metric].value
