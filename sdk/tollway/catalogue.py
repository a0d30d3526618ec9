"""The catalogue: which models may be called, how well and how fast: ``client.catalogue``."""

from dataclasses import dataclass
from typing import Any, Literal

from tollway.registry import check_name, listing
from tollway.resources import Deprecation
from tollway.transport import Transport

PATH = "/api/v1/catalogue"
Sort = Literal["name", "newest", "calls", "latency"]
Span = Literal["hour", "day", "month"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """The main metric of a version's newest evaluation."""

    metric: str
    value: float
    rows_name: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How fast a model answered in the last 7 days. ``errors``: answers of status 400 and above."""

    requests: int
    errors: int
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A model that may be called, by the version that a call without one gets.

    ``predicts``: a classifier's labels, at most 12 of them, else the names of the outputs.
    ``versions``: how many may be called. ``latency`` None: nobody has called it lately.
    """

    name: str
    title: str
    description: str
    owner: str | None
    updated_at: str
    task: str
    predicts: tuple[str, ...]
    columns: int
    explains: bool
    version: int
    versions: int
    state: str
    sunset: str | None
    quality: Quality | None
    serving: str = "none"
    latency: Latency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A version that may be called. ``changes``: what is different for callers from the one before
    it that may be called; ``stable``: it answers calls that name no version."""

    number: int
    state: str
    stable: bool
    created_at: str
    description: str
    deprecation: Deprecation | None
    quality: Quality | None
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric with its 95 % confidence interval, where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How well the shown version did, by its newest evaluation. ``classes``, ``segments`` and
    ``importance`` are as the management API gives them."""

    created_at: str
    rows_name: str
    rows: int
    main_metric: str
    metrics: dict[str, Metric]
    classes: list[dict[str, Any]]
    segments: list[dict[str, Any]]
    importance: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueModel(CatalogueEntry):
    """A model with one of its versions, ``shown``, which ``manifest`` and ``evaluation`` are of.

    ``stable``: the version that answers calls which name none. ``requirements``: what the model has
    to fulfil, as the management API gives it.
    """

    stable: int | None
    shown: Release
    digest: str
    manifest: dict[str, Any]
    releases: tuple[Release, ...]
    evaluation: Evaluation | None
    requirements: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyPoint:
    """A step of a model's latency."""

    time: str
    requests: int
    errors: int
    p50_ms: float | None = None
    p99_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySeries:
    """How fast a model answered, by ``step``; a step without a call is not there."""

    step: str
    start: str
    end: str
    points: tuple[LatencyPoint, ...]


class Catalogue:
    """The part of the management API about what may be called: ``client.catalogue``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def search(
        self,
        text: str = "",
        *,
        task: str | None = None,
        state: str | None = None,
        owner: str | None = None,
        serving: str | None = None,
        evaluated: bool | None = None,
        p99_ms: float | None = None,
        sort: Sort = "name",
    ) -> list[CatalogueEntry]:
        """The models that may be called whose name, title, description, owner, classes, outputs or
        columns hold every word of ``text``; the others narrow it further, None does not.

        ``p99_ms``: at least this fast lately. ``sort`` by name, or best first.
        """
        wish: dict[str, str | float | None] = {
            "search": text or None,
            "task": task,
            "state": state,
            "owner": owner,
            "serving": serving,
            "evaluated": None if evaluated is None else str(evaluated).lower(),
            "p99_ms": p99_ms,
            "sort": sort,
        }
        params = {name: str(value) for name, value in wish.items() if value is not None}
        return list(listing(self._transport, PATH, CatalogueEntry, params))

    def model(self, name: str, *, version: int | None = None) -> CatalogueModel:
        """All that the catalogue says of a model: with the version that answers calls which name
        none, or with ``version``."""
        params = {} if version is None else {"version": version}
        return self._transport.get(_model(name), CatalogueModel, params)

    def latency(self, name: str, span: Span = "day") -> LatencySeries:
        """How fast the model answered everybody in the last hour (by minute), day (by hour), or 30
        days (``month``, by day)."""
        return self._transport.get(f"{_model(name)}/latency", LatencySeries, {"span": span})


def _model(name: str) -> str:
    return f"{PATH}/{check_name(name, 'model')}"
