"""A version's evaluation as its page shows it. Pure."""

from typing import Final

import msgspec

from control.portal.publish_drawings import (
    Drawn,
    Shuffled,
    common_axis,
    direction,
    draw,
    draw_importance,
    draw_metrics,
)
from protocol.evidence import ClassEvidence, Evidence, MeasuredLatency, Resampling
from registry.evidence_inputs import EvidenceOutput

MAX_COLUMNS: Final = 4
"""Metrics beside the main one that a table of segments has room for."""
MAX_SEGMENTS: Final = 100


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """The rows that satisfy a condition, beside all rows."""

    segment: str
    rows: int
    main: Drawn | None
    difference: float | None
    """Of the main metric to that of all rows."""
    worse: bool
    """Whether its whole interval lies on the worse side of the value of all rows."""
    others: list[float | None]


class EvaluationView(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation."""

    digest: str
    at: str
    by: str
    rows_name: str
    rows: int
    rows_digest: str
    main: str
    metrics: list[Drawn]
    segment_columns: list[str]
    segments: list[Segment]
    more_segments: int
    classes: tuple[ClassEvidence, ...]
    positive: str | None
    importance: list[Shuffled]
    more_importance: int
    latency: MeasuredLatency | None
    resampling: Resampling | None
    libraries: dict[str, str]

    @property
    def segment_headings(self) -> list[str | tuple[str, str]]:
        """Of the table of segments."""
        others = [(name, "number") for name in self.segment_columns]
        beside = ("To all rows", "number")
        return ["Segment", ("Rows", "number"), self.main, ("Value", "number"), beside, *others]

    @property
    def class_metrics(self) -> list[str]:
        """What is measured of each class."""
        return list(self.classes[0].metrics) if self.classes else []

    @property
    def class_headings(self) -> list[str | tuple[str, str]]:
        """Of the table of classes."""
        return ["Class", ("Rows", "number"), *((name, "number") for name in self.class_metrics)]


def evidence_of(output: EvidenceOutput) -> Evidence:
    """What the API gives, as the domain has it."""
    return msgspec.convert(output.evidence, Evidence)


def evaluation_view(output: EvidenceOutput) -> EvaluationView:
    """An evaluation with everything placed."""
    given = evidence_of(output)
    columns = [name for name in sorted(given.metrics) if name != given.main_metric][:MAX_COLUMNS]
    drawn = draw_importance(given.importance)
    return EvaluationView(
        digest=output.digest,
        at=output.created_at,
        by=output.created_by,
        rows_name=given.rows_name,
        rows=given.rows,
        rows_digest=given.rows_digest,
        main=given.main_metric,
        metrics=draw_metrics(given.metrics, given.main_metric),
        segment_columns=columns if given.segments else [],
        segments=_segments(given, columns),
        more_segments=max(len(given.segments) - MAX_SEGMENTS, 0),
        classes=given.classes,
        positive=given.positive,
        importance=drawn,
        more_importance=len(given.importance) - len(drawn),
        latency=given.latency,
        resampling=given.resampling,
        libraries=given.libraries,
    )


def _segments(given: Evidence, columns: list[str]) -> list[Segment]:
    main = given.main_metric
    shown = given.segments[:MAX_SEGMENTS]
    measures = [one.metrics[main] for one in shown if main in one.metrics]
    whole = given.metrics[main]
    axis = common_axis([*measures, whole], main)
    smaller = direction(main)
    found = []
    for one in shown:
        own = one.metrics.get(main)
        worse = False
        if own is not None and own.low is not None and own.high is not None:
            worse = (own.low > whole.value) if smaller else (own.high < whole.value)
        found.append(
            Segment(
                segment=one.segment,
                rows=one.rows,
                main=None if own is None else draw(main, own, axis),
                difference=None if own is None else own.value - whole.value,
                worse=worse and smaller is not None,
                others=[
                    one.metrics[name].value if name in one.metrics else None for name in columns
                ],
            )
        )
    return found
