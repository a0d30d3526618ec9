"""Evidence: how well a version did on rows whose truth is known. Immutable canonical JSON
(RFC 8785), known by its digest and bound to the version's manifest."""

from typing import Literal

import msgspec
import rfc8785

from protocol.manifest import sha256_digest


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A metric's value with the interval that a repeated evaluation would mostly fall into."""

    value: float
    low: float | None = None
    """Lower end of its 95 % confidence interval; None where there is none."""
    high: float | None = None


class SegmentEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """The metrics of the rows that satisfy a condition."""

    segment: str
    """The condition, as :mod:`protocol.segments` writes it (``age<30``)."""
    rows: int
    metrics: dict[str, Measured]


class ClassEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """How well a classifier tells one class from the others."""

    label: str
    rows: int
    """Rows that truly are of this class."""
    metrics: dict[str, Measured]
    """``precision``, ``recall`` and ``f1`` of this class against all others."""


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the main metric gets worse when a column's values are shuffled."""

    column: str
    mean: float
    deviation: float
    """Standard deviation over the repeats."""


class MeasuredLatency(msgspec.Struct, frozen=True, kw_only=True):
    """Time of one-row requests, in milliseconds."""

    requests: int
    p50_ms: float
    p99_ms: float
    measured: Literal["engine", "answer"] = "engine"
    """``engine``: queue and run in the engine, as it reports them; ``answer``: from the request
    to its answer as the client saw it, where nothing reports the former."""


class Resampling(msgspec.Struct, frozen=True, kw_only=True):
    """How the intervals and the importances were made, so that they can be made again."""

    intervals: Literal["percentile bootstrap"] = "percentile bootstrap"
    """Rows are drawn with replacement, as many as there are; the metric of each draw is taken, and
    the interval holds the middle share of them (Efron, 1979)."""
    confidence: float = 0.95
    resamples: int
    seed: int
    importance_repeats: int = 0
    """Shuffles of each column; 0: no importance was measured."""
    importance_rows: int = 0
    """Rows that they were measured on, drawn from all."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation of one version."""

    schema: Literal["tollway.evidence/1"] = "tollway.evidence/1"
    model: str
    version: int
    manifest_digest: str
    """Of the version that was evaluated; evidence for another digest counts for nothing."""
    rows_name: str = "holdout"
    """What the publisher calls the rows."""
    rows: int
    rows_digest: str
    """``sha256:`` of inputs and truth in canonical form: the same for evaluations of the same
    rows."""
    main_metric: str
    metrics: dict[str, Measured]
    segments: tuple[SegmentEvidence, ...] = ()
    classes: tuple[ClassEvidence, ...] = ()
    """A classifier's classes, in the order of its labels."""
    positive: str | None = None
    """The class that a binary classifier's ``precision``, ``recall`` and ``f1`` are about."""
    importance: tuple[Importance, ...] = ()
    latency: MeasuredLatency | None = None
    resampling: Resampling | None = None
    libraries: dict[str, str] = {}

    def canonical(self) -> bytes:
        """Its canonical JSON. Raises ``rfc8785.CanonicalizationError`` for numbers that are not
        finite."""
        return rfc8785.dumps(msgspec.to_builtins(self))

    def digest(self) -> str:
        """``sha256:`` of its canonical JSON."""
        return sha256_digest(self.canonical())


def evidence_digest(digests: list[str]) -> str:
    """Digest of all the evidence of a version, from the digests of its parts in any order."""
    return sha256_digest("\n".join(sorted(digests)).encode())
