"""What a shadow version would have answered otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tollway.registry import check_name
from tollway.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFlips:
    """Rows that one version puts into one class and the shadow into another."""

    answered: str
    shadow: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DisagreementItem:
    """How a shadow's answers differ from those of version ``against``.

    ``p50``, ``p90`` and ``p99`` are quantiles of the largest difference in each row, within 1 %;
    ``mean_shift`` is the mean difference of the scores, the shadow's minus the answered ones.
    ``failures`` are requests that could not be compared, by the reason.
    """

    against: int
    application: str | None = None
    segment: str | None = None
    requests: int
    failures: dict[str, int]
    rows: int
    classified: int
    flips: int
    flip_share: float | None
    pairs: list[ClassFlips]
    measured: int
    equal: int
    missing: int
    mean_shift: float | None
    shift_deviation: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    largest: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DisagreementExample:
    """A row that was answered differently. ``inputs`` by column, the others by output."""

    at: str
    against: int
    application: str
    prediction_id: str
    row: int
    flipped: bool
    difference: float
    inputs: dict[str, object]
    answered: dict[str, object]
    shadow: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """What became of the requests that a shadow was to score: ``scored``, or ``shed``, by the
    reason: ``busy``, ``budget``, ``no_engine`` or ``engine``."""

    scored: int = 0
    shed: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DisagreementReport:
    """What version ``version``, a shadow, would have answered otherwise from ``start`` to ``end``,
    in whole hours."""

    model: str
    version: int
    start: str
    end: str
    items: list[DisagreementItem]
    examples: list[DisagreementExample]
    mirrored: Mirrored = field(default_factory=Mirrored)


def disagreement(
    transport: Transport,
    model: str,
    version: int,
    *,
    start: datetime | None,
    end: datetime | None,
    by: Sequence[str],
    examples: int,
) -> DisagreementReport:
    """Ask for the report."""
    span = {"from": start, "to": end}
    params: dict[str, str | int] = {
        name: moment.astimezone().isoformat() for name, moment in span.items() if moment is not None
    }
    params |= {"by": ",".join(by), "examples": examples}
    path = f"/api/v1/models/{check_name(model, 'model')}/shadows/{version}/report"
    return transport.read(transport.request("GET", path, params=params), DisagreementReport)
