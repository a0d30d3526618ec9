"""What a measure of a success criterion is, of one version: a number, or why it cannot be told."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from typing import Final

import msgspec

from protocol.evidence import Evidence, Measured
from protocol.manifest import Manifest, sha256_digest
from protocol.segments import parse_condition
from registry.criteria import Measure

MEGABYTE: Final = 1_000_000
LOOKED_IN: Final = 20
"""Evaluations that a measure is looked for in, the newest first."""

_SMALLER: Final = frozenset(
    {
        "brier", "brier_score", "davies_bouldin", "ece", "expected_calibration_error",
        "false_negative_rate", "false_positive_rate", "hinge_loss", "log_loss", "mae", "mape",
        "max_error", "mean_absolute_error", "mean_absolute_percentage_error", "median_ae",
        "mean_squared_error", "median_absolute_error", "mse", "p50_ms", "p99_ms", "pinball_loss",
        "rmse", "root_mean_squared_error", "size_mb", "zero_one_loss",
    }
)  # fmt: skip
_LARGER: Final = frozenset(
    {
        "accuracy", "adjusted_rand", "auc", "average_precision", "balanced_accuracy",
        "calinski_harabasz", "cohen_kappa", "explained_variance", "f1", "f1_macro", "f1_micro",
        "f1_weighted", "jaccard", "matthews", "matthews_correlation", "mcc", "pr_auc",
        "precision", "precision_macro", "r2", "recall", "recall_macro", "roc_auc", "sensitivity",
        "silhouette", "specificity", "top_3_accuracy", "top_5_accuracy",
    }
)  # fmt: skip


class Untold(Exception):  # noqa: N818 -- an answer, not an error
    """Why a measure has no value, in words for a user."""


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """What tells which evaluation to look in. Decoding skips the rest, which is nearly all."""

    manifest_digest: str
    rows_name: str = "holdout"
    rows_digest: str


class Evaluation:
    """Evidence as criteria see it: read when it is first asked for, and decoded when it is first
    looked in. A version may have a hundred megabytes of it, while a gate holds the model's lock."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        """``read`` gives the document. It is not kept: of most only the head is looked at."""
        self._read = read

    @cached_property
    def digest(self) -> str:
        """Of the document."""
        return sha256_digest(self._read())

    @cached_property
    def _head(self) -> _Head:
        return msgspec.json.decode(self._read(), type=_Head)

    @property
    def manifest_digest(self) -> str:
        """Of the version that was evaluated."""
        return self._head.manifest_digest

    @property
    def rows_name(self) -> str:
        """What the publisher calls the rows."""
        return self._head.rows_name

    @property
    def rows_digest(self) -> str:
        """Of the rows."""
        return self._head.rows_digest

    @cached_property
    def evidence(self) -> Evidence:
        """The whole of it."""
        return msgspec.json.decode(self._read(), type=Evidence)


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """A version as criteria see it."""

    number: int
    digest: str
    """Of its manifest."""
    manifest: Manifest
    evidence: tuple[Evaluation, ...] = ()
    """Oldest first. What was made of another manifest counts for nothing."""

    def evaluations(self) -> Iterator[Evaluation]:
        """The evidence that counts, newest first."""
        return (one for one in reversed(self.evidence) if one.manifest_digest == self.digest)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A value and where it is from."""

    value: float
    evaluation: Evaluation | None = None
    """None: from the manifest."""


def smaller_is_better(measure: Measure) -> bool:
    """The direction of a metric. Raises :class:`Untold` for one that is not known here."""
    if measure.name in _SMALLER or measure.name.startswith("parity."):
        return True
    if measure.name in _LARGER:
        return False
    raise Untold(
        f"whether a larger or a smaller {measure.name!r} is better is not known: compare it "
        "with a number instead"
    )


def find(
    measure: Measure,
    subject: Subject,
    segments: Mapping[str, str],
    among: Iterable[Evaluation] | None = None,
) -> Found:
    """The measure's value for a version; ``segments`` are those that have names. ``among``: the
    evaluations to look in, by preference; None: all of the version's. At most :data:`LOOKED_IN`
    of them are looked in.

    Raises :class:`Untold`.
    """
    known = _of_manifest(subject.manifest)
    if measure.name in known:
        value = known[measure.name]
        if isinstance(value, str):
            raise Untold(f"version {subject.number} {value}")
        _plain(measure)
        return Found(value=value)
    every = subject.evaluations() if among is None else among
    looked = (one for one in every if measure.rows is None or one.rows_name == measure.rows)
    reason = ""
    for one in islice(looked, LOOKED_IN):
        try:
            return Found(value=_in_evidence(measure, one.evidence, segments), evaluation=one)
        except Untold as untold:
            reason = reason or str(untold)  # of the newest: what its publisher will mend
    of = f" of rows {measure.rows!r}" if measure.rows is not None else ""
    raise Untold(reason or f"version {subject.number} has no evidence{of}: evaluate it")


def _plain(measure: Measure) -> None:
    if measure.bound or measure.segment is not None or measure.label is not None:
        raise Untold(f"{measure.name} has no interval, segments or classes")


def _in_evidence(measure: Measure, evidence: Evidence, segments: Mapping[str, str]) -> float:
    metrics, rows, where = _chosen(measure, evidence, segments)
    if measure.name == "rows" and "rows" not in metrics:
        if measure.bound:
            raise Untold("rows has no interval")
        return float(rows)
    latency = evidence.latency
    if measure.name in {"p50_ms", "p99_ms"} and measure.name not in metrics:
        _plain(measure)
        if latency is None:
            raise Untold(f"the evidence of rows {evidence.rows_name!r} has no latency")
        return latency.p50_ms if measure.name == "p50_ms" else latency.p99_ms
    found = metrics.get(measure.name)
    if found is None:
        has = ", ".join(sorted(metrics)) or "none"
        raise Untold(f"{where} has no metric {measure.name!r}; it has {has}")
    value = getattr(found, measure.bound) if measure.bound else found.value
    if value is None:
        raise Untold(f"{where} has no interval of {measure.name!r}")
    if not math.isfinite(value):
        raise Untold(f"{measure.name} is {value}")
    return float(value)


def _chosen(
    measure: Measure, evidence: Evidence, segments: Mapping[str, str]
) -> tuple[dict[str, Measured], int, str]:
    """Metrics, rows and name of the part of the evidence that the measure is about."""
    named = f"evidence of rows {evidence.rows_name!r}"
    if measure.segment is not None and measure.label is not None:
        raise Untold("evidence tells no classes apart within a segment")
    if measure.label is not None:
        for one in evidence.classes:
            if one.label == measure.label:
                return one.metrics, one.rows, f"class {one.label!r} in the {named}"
        has = ", ".join(one.label for one in evidence.classes) or "none"
        raise Untold(f"the {named} has no class {measure.label!r}; it has {has}")
    if measure.segment is None:
        return evidence.metrics, evidence.rows, named
    wanted = str(measure.segment)
    if isinstance(measure.segment, str):
        if wanted not in segments:
            raise Untold(f"the requirements define no segment {wanted!r}")
        wanted = str(parse_condition(segments[wanted]))
    for part in evidence.segments:
        if part.segment == wanted:
            if part.rows == 0:
                raise Untold(f"no row of the {named} is in segment {wanted}")
            return part.metrics, part.rows, f"segment {wanted} in the {named}"
    has = ", ".join(part.segment for part in evidence.segments) or "none"
    raise Untold(f"the {named} has no segment {wanted}; it has {has}")


def _of_manifest(manifest: Manifest) -> dict[str, float | str]:
    """Name -> value, or why there is none."""
    found: dict[str, float | str] = {}
    if manifest.artifact is None:
        found["size_mb"] = "is answered by a remote server: it has no size"
    else:
        size = manifest.artifact.size + sum(file.size for file in manifest.files)
        found["size_mb"] = size / MEGABYTE
    parity = manifest.parity
    for name in ("rows", "max_abs_error", "tolerance", "label_mismatches", "near_ties"):
        found[f"parity.{name}"] = (
            "has no parity report: it was not converted from an estimator"
            if parity is None
            else float(getattr(parity, name))
        )
    return found
