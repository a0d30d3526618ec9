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


class Importance(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the main metric falls when a column's values are shuffled."""

    column: str
    mean: float
    deviation: float
    """Standard deviation over the repeats."""


class MeasuredLatency(msgspec.Struct, frozen=True, kw_only=True):
    """Time of one-row requests in the version's own engine, in milliseconds."""

    requests: int
    p50_ms: float
    p99_ms: float


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
    importance: tuple[Importance, ...] = ()
    latency: MeasuredLatency | None = None
    libraries: dict[str, str] = {}

    def digest(self) -> str:
        """``sha256:`` of its canonical JSON. Raises ``rfc8785.CanonicalizationError`` for numbers
        that are not finite."""
        return sha256_digest(rfc8785.dumps(msgspec.to_builtins(self)))


def evidence_digest(digests: list[str]) -> str:
    """Digest of all the evidence of a version, from the digests of its parts in any order."""
    return sha256_digest("\n".join(sorted(digests)).encode())
