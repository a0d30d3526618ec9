"""The disagreement report: what a shadow would have answered otherwise. Pure."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec
from pydantic import BaseModel, ConfigDict

from control.resources import MAX_TIME_MS
from protocol import sketch
from protocol.errors import Code, TollwayError
from protocol.shadowing import SHED, Example, Shed, Tally
from registry.clock import rfc3339

HOUR_MS: Final = 3_600_000
DEFAULT_HOURS: Final = 24
SHOWN_PAIRS: Final = 20
Dimension = Literal["application", "segment"]
DIMENSIONS: Final[tuple[Dimension, ...]] = ("application", "segment")
Places = Mapping[tuple[int, str, str], Tally]
"""By the version that answered, the application and the segment."""


class _Resource(BaseModel):
    model_config = ConfigDict(frozen=True)


class ClassFlips(_Resource):
    """Rows that one version puts into one class and the shadow into another."""

    answered: str
    shadow: str
    rows: int


class DisagreementItem(_Resource):
    """How a shadow's answers differ from those of one version. Differences are the shadow's number
    minus the answered one; quantiles are of the largest magnitude in each row, within 1 %."""

    against: int
    """The version that answered."""
    application: str | None = None
    """Empty for management tokens."""
    segment: str | None = None
    """Empty for all rows."""
    requests: int
    """Requests that were scored by both. Of a segment only its rows are counted: 0."""
    failures: dict[str, int]
    """Requests that could not be compared: `refused` by the shadow, `failed` in its run, or
    `unlike`: no output in common."""
    rows: int
    classified: int
    """Rows whose classes were compared."""
    flips: int
    """Of these, rows with another class."""
    flip_share: float | None
    pairs: list[ClassFlips]
    """The most frequent flips."""
    measured: int
    """Rows whose numbers were compared."""
    equal: int
    """Of these, rows without any difference."""
    missing: int
    """Rows in which a number is missing in one of the answers alone."""
    mean_shift: float | None
    """Mean difference of the scores."""
    shift_deviation: float | None
    """Standard deviation of these differences."""
    p50: float | None
    p90: float | None
    p99: float | None
    largest: float | None


class DisagreementExample(_Resource):
    """A row that was answered differently."""

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


class MirroredItem(_Resource):
    """What became of the requests that the shadow was to score, of all applications."""

    scored: int
    """Requests that an engine of the shadow has taken in and compared."""
    shed: dict[Shed, int]
    """Requests that were left out, by the reason: `busy` (the gateway, or the engines that answer,
    had no time), `budget` (too much was waiting), `no_engine` (none of the shadow took it) or
    `engine` (one did, and dropped it or was lost)."""


class DisagreementReport(_Resource):
    """What a shadow version would have answered otherwise in whole hours of a span."""

    model: str
    version: int
    """The shadow."""
    start: str
    end: str
    mirrored: MirroredItem
    items: list[DisagreementItem]
    examples: list[DisagreementExample]
    """The rows that differ most, of the requests whose payload may be kept."""


class Span(msgspec.Struct, frozen=True):
    """Hours (UNIX time / 3600) from ``start`` up to, not including, ``end``."""

    start: int
    end: int


def span_of(start: datetime | None, to: datetime | None, now_ms: int) -> Span:
    """The hours that the parameters touch; without them, the last 24. Raises ``INVALID``."""
    end_ms = now_ms + 1 if to is None else round(to.timestamp() * 1000)
    end = -(-end_ms // HOUR_MS)
    begin = end - DEFAULT_HOURS if start is None else round(start.timestamp() * 1000) // HOUR_MS
    if begin > end:
        raise TollwayError(Code.INVALID, "query.from: lies behind 'to'")
    return Span(max(begin, 0), min(max(end, 0), MAX_TIME_MS // HOUR_MS))


def dimensions_of(by: str) -> tuple[Dimension, ...]:
    """The dimensions that ``by`` names. Raises ``INVALID``."""
    names = [name for part in by.split(",") if (name := part.strip())]
    for name in names:
        if name not in DIMENSIONS:
            raise TollwayError(
                Code.INVALID,
                f"query.by: {name[:80]!r} is not one of {', '.join(DIMENSIONS)} (by commas)",
            )
    return tuple(one for one in DIMENSIONS if one in names)


def report_of(
    model: str,
    version: int,
    span: Span,
    by: tuple[Dimension, ...],
    places: Places,
    outcomes: Mapping[str, int],
    examples: Sequence[Example],
) -> DisagreementReport:
    """The report. Without the dimension ``segment`` its items are about all rows. ``outcomes``:
    requests by ``compared`` or the reason for which they were shed."""
    groups: dict[tuple[int, str, str], Tally] = {}
    for (against, application, segment), tally in places.items():
        if segment and "segment" not in by:
            continue
        key = (against, application if "application" in by else "", segment)
        groups.setdefault(key, Tally()).add(tally)
    return DisagreementReport(
        model=model,
        version=version,
        start=rfc3339(span.start * HOUR_MS),
        end=rfc3339(span.end * HOUR_MS),
        mirrored=MirroredItem(
            scored=outcomes.get("compared", 0),
            shed={reason: outcomes[reason] for reason in SHED if reason in outcomes},
        ),
        items=[_item(by, key, groups[key]) for key in sorted(groups)],
        examples=[example_of(example) for example in examples],
    )


def _item(by: tuple[Dimension, ...], key: tuple[int, str, str], tally: Tally) -> DisagreementItem:
    against, application, segment = key
    quantiles = [sketch.quantile(tally.differences, share) for share in (0.5, 0.9, 0.99)]
    # A representative may lie above the largest value of its bucket.
    p50, p90, p99 = (None if q is None else min(q, tally.largest) for q in quantiles)
    measured = tally.measured
    return DisagreementItem(
        against=against,
        application=application if "application" in by else None,
        segment=segment if "segment" in by else None,
        requests=tally.requests,
        failures={str(reason): count for reason, count in sorted(tally.failures.items())},
        rows=tally.rows,
        classified=tally.labelled,
        flips=tally.flips,
        flip_share=tally.flips / tally.labelled if tally.labelled else None,
        pairs=[
            ClassFlips(answered=answered, shadow=shadow, rows=rows)
            for answered, shadow, rows in tally.frequent_pairs()[:SHOWN_PAIRS]
        ],
        measured=measured,
        equal=tally.equal,
        missing=tally.missing,
        mean_shift=tally.shift / measured if measured else None,
        shift_deviation=_deviation(tally),
        p50=p50,
        p90=p90,
        p99=p99,
        largest=tally.largest if measured else None,
    )


def _deviation(tally: Tally) -> float | None:
    if tally.measured < 2:  # noqa: PLR2004 -- one number does not scatter
        return None
    around = tally.shift_squares - tally.shift * tally.shift / tally.measured
    return math.sqrt(max(around, 0.0) / (tally.measured - 1))


def example_of(example: Example) -> DisagreementExample:
    """The example as the API shows it."""
    return DisagreementExample(
        at=rfc3339(example.at_ms),
        **{
            name: getattr(example, name)
            for name in DisagreementExample.model_fields
            if name != "at"
        },
    )
