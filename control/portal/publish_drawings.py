"""Where measures are drawn: intervals around metrics, bars to thresholds. Pure; places are percent
of a drawing's width, as SVG's attributes take them."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from protocol.evidence import Importance, Measured
from registry.approval_bodies import GateOutput, PartOutput
from registry.criteria import Measure
from registry.criteria_judging import Outcome
from registry.measures import Untold, smaller_is_better

MAX_IMPORTANCES: Final = 20
_ROOM: Final = 0.15
"""Share of a drawing that is left free at its ends."""


class Axis(msgspec.Struct, frozen=True):
    """From ``low`` at 0 to ``high`` at 100."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where ``value`` is drawn: within the drawing, whatever it is."""
        if self.high <= self.low:
            return 50.0
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(max(share, 0.0), 1.0), 2)


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """A measure with its interval, and where they are drawn."""

    name: str
    value: float
    low: float | None
    high: float | None
    at: float
    begin: float
    end: float
    smaller_is_better: bool | None
    """None: nobody can tell."""

    @property
    def width(self) -> float:
        """Of the interval."""
        return round(self.end - self.begin, 2)


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison of a criterion: the value as a bar, the threshold as a line."""

    text: str
    outcome: Outcome
    detail: str
    value: float | None
    bound: float | None
    margin: float | None
    """How far the value is beyond the threshold; negative where it falls short."""
    length: float
    line: float


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """A criterion with its comparisons."""

    text: str
    outcome: Outcome
    bars: list[Bar]


class Shuffled(msgspec.Struct, frozen=True, kw_only=True):
    """A column's permutation importance, and where it is drawn."""

    column: str
    mean: float
    deviation: float
    zero: float
    begin: float
    width: float
    whisker_begin: float
    whisker_end: float


def direction(metric: str) -> bool | None:
    """Whether smaller values of a metric are better; None where nobody can tell."""
    try:
        return smaller_is_better(Measure(name=metric))
    except Untold:
        return None


def common_axis(measures: Iterable[Measured], metric: str) -> Axis:
    """An axis that holds every measure of one metric: shares of a whole end at 1."""
    ends = [
        end for one in measures for end in (one.low, one.value, one.high) if end is not None
    ] or [0.0]
    low, high = min(ends), max(ends)
    room = _ROOM * ((high - low) or abs(high) or 1.0)
    begin, end = low - room, high + room
    if low >= 0:
        begin = max(begin, 0.0)
    if low >= 0 and high <= 1 and direction(metric) is False:
        end = min(end, 1.0)
    return Axis(begin, end)


def draw(name: str, measured: Measured, axis: Axis) -> Drawn:
    """A measure on an axis."""
    low = measured.value if measured.low is None else measured.low
    high = measured.value if measured.high is None else measured.high
    return Drawn(
        name=name,
        value=measured.value,
        low=measured.low,
        high=measured.high,
        at=axis.place(measured.value),
        begin=axis.place(low),
        end=axis.place(high),
        smaller_is_better=direction(name),
    )


def draw_metrics(metrics: Mapping[str, Measured], main: str) -> list[Drawn]:
    """The main metric first. Metrics that are shares, and better when they are larger, are drawn on
    one axis, so that they can be compared; others each on an axis from 0."""
    shares = [
        one
        for name, one in metrics.items()
        if direction(name) is False and 0 <= one.value <= 1 and (one.low or 0) >= 0
    ]
    floor = min((one.value if one.low is None else one.low for one in shares), default=0.0)
    shared = Axis(max(0.0, int(floor * 10 - 0.5) / 10), 1.0)
    names = sorted(metrics, key=lambda name: (name != main, name))
    return [
        draw(
            name,
            metrics[name],
            shared if metrics[name] in shares else _from_zero(metrics[name]),
        )
        for name in names
    ]


def draw_gate(gate: GateOutput) -> list[Criterion]:
    """Every criterion with its bars."""
    return [
        Criterion(
            text=one.criterion,
            outcome=one.outcome,
            bars=[_bar(part) for part in one.parts],
        )
        for one in gate.criteria
    ]


def draw_importance(importance: Iterable[Importance]) -> list[Shuffled]:
    """The most important columns first, at most :data:`MAX_IMPORTANCES`."""
    chosen = sorted(importance, key=lambda one: -one.mean)[:MAX_IMPORTANCES]
    ends = [end for one in chosen for end in (one.mean - one.deviation, one.mean + one.deviation)]
    axis = Axis(min([0.0, *ends]), max([0.0, *ends]))
    zero = axis.place(0)
    drawn = []
    for one in chosen:
        at = axis.place(one.mean)
        drawn.append(
            Shuffled(
                column=one.column,
                mean=one.mean,
                deviation=one.deviation,
                zero=zero,
                begin=min(zero, at),
                width=round(abs(at - zero), 2),
                whisker_begin=axis.place(one.mean - one.deviation),
                whisker_end=axis.place(one.mean + one.deviation),
            )
        )
    return drawn


def _from_zero(measured: Measured) -> Axis:
    ends = [end for end in (measured.low, measured.value, measured.high) if end is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = _ROOM * ((high - low) or 1.0)
    return Axis(low - room if low < 0 else 0.0, high + room)


def _bar(part: PartOutput) -> Bar:
    value, bound = part.value, part.bound
    margin, length, line = None, 0.0, 0.0
    if value is not None and bound is not None:
        distance = abs(value - bound)
        margin = -part.short_by if part.short_by is not None else distance
        # The bar does not begin at 0 where that would hide by how much a threshold is missed.
        room = max(2 * distance, 0.2 * abs(bound), 1e-9)
        low, high = min(value, bound), max(value, bound)
        begin = max(0.0, low - room) if low >= 0 else low - room
        end = high + room / 2
        if low >= 0 and high <= 1 < end:
            end = 1.0
        axis = Axis(begin, end)
        length, line = axis.place(value), axis.place(bound)
    return Bar(
        text=part.text,
        outcome=part.outcome,
        detail=part.detail,
        value=value,
        bound=bound,
        margin=margin,
        length=length,
        line=line,
    )
