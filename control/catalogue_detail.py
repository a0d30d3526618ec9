"""All that the catalogue says of one model."""

from typing import Any, Final

from control.catalogue import CatalogueEntry, Quality
from control.resources import Resource
from protocol.configuration import VersionState
from protocol.manifest import Column, Manifest
from registry.outputs import DeprecationOutput
from registry.requirements_inputs import ConstraintsOutput, ContractOutput

MAX_NAMED: Final = 6
"""Names that one change spells out."""


class Release(Resource):
    """A version that may be called."""

    number: int
    state: VersionState
    stable: bool
    """Whether it answers calls that name no version."""
    created_at: str
    description: str
    deprecation: DeprecationOutput | None
    quality: Quality | None
    changes: list[str]
    """What is different for callers from the version before it that may be called."""


class Metric(Resource):
    """A metric with its 95 % confidence interval, where it has one."""

    value: float
    low: float | None
    high: float | None


class ClassMetrics(Resource):
    """How well one class is told from the others."""

    label: str
    rows: int
    metrics: dict[str, Metric]


class SegmentMetrics(Resource):
    """The metrics of the rows that satisfy a condition."""

    segment: str
    rows: int
    metrics: dict[str, Metric]


class ColumnImportance(Resource):
    """By how much the main metric gets worse when the column's values are shuffled."""

    column: str
    mean: float
    deviation: float


class Evaluation(Resource):
    """How well the shown version did, by its newest evaluation."""

    created_at: str
    rows_name: str
    rows: int
    main_metric: str
    metrics: dict[str, Metric]
    classes: list[ClassMetrics]
    segments: list[SegmentMetrics]
    importance: list[ColumnImportance]


class Statement(Resource):
    """What the model has to fulfil, as its publisher and its sponsor agreed on it."""

    problem: str
    answerable: str
    """Who answers for the model towards its users."""
    criteria: list[str]
    constraints: ConstraintsOutput
    contract: ContractOutput | None
    segments: dict[str, str]


class CatalogueModel(CatalogueEntry):
    """A model with one of its versions."""

    stable: int | None
    """The version that answers calls which name none."""
    shown: Release
    """The version that ``manifest`` and ``evaluation`` are of."""
    digest: str
    manifest: dict[str, Any]
    """What the version takes and gives; without where its bytes are, or its remote server."""
    releases: list[Release]
    """The newest 50."""
    evaluation: Evaluation | None
    requirements: Statement | None


def changes(before: Manifest, after: Manifest) -> list[str]:
    """What callers of ``before`` find different in ``after``, in words. Pure."""
    found = []
    old, new = ({column.name: column for column in one.columns} for one in (before, after))
    labels = [[str(label) for label in one.labels] for one in (before, after)]
    outputs = [[output.name for output in one.outputs] for one in (before, after)]
    found += _told("takes new", "column", "columns", list(old), list(new))
    found += _told("no longer takes", "column", "columns", list(new), list(old))
    for name in new:
        if name in old and old[name].type != new[name].type:
            found.append(f"column {name!r} is {_kind(new[name])}, and was {_kind(old[name])}")
    found += _told("knows new", "class", "classes", *labels)
    found += _told("no longer gives", "class", "classes", *reversed(labels))
    found += _told("gives new", "output", "outputs", *outputs)
    found += _told("no longer gives", "output", "outputs", *reversed(outputs))
    if before.task != after.task:
        found.append(f"is a {after.task} model, and was a {before.task} model")
    if bool(after.background) != bool(before.background):
        found.append("explains its answers" if after.background else "explains no answers any more")
    return found


def _told(what: str, one: str, several: str, before: list[str], after: list[str]) -> list[str]:
    """In words, what is in ``after`` and not in ``before``."""
    known = set(before)
    names = [name for name in after if name not in known]
    if not names:
        return []
    shown = ", ".join(repr(name) for name in names[:MAX_NAMED])
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return [f"{what} {one if len(names) == 1 else several} {shown}{more}"]


def _kind(column: Column) -> str:
    return f"{'an' if column.type == 'integer' else 'a'} {column.type}"
