"""Search, filters and order of the catalogue. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

import msgspec

from control.catalogue import Choice, Choices, Latency
from protocol.configuration import VersionState
from protocol.manifest import Task
from registry.status import ServingState

MAX_WORDS: Final = 8
MAX_OWNERS: Final = 50
Sort = Literal["name", "newest", "calls", "latency"]
Facet = Literal["task", "state", "owner", "serving", "evaluated", "p99_ms"]


class Facts(msgspec.Struct, frozen=True):
    """What a manifest says that the catalogue is searched by: the same for ever."""

    task: Task
    predicts: tuple[str, ...]
    columns: int
    explains: bool
    words: str
    """Labels, outputs and columns, in lower case."""


class Listing(msgspec.Struct, frozen=True):
    """A model as the catalogue knows it before a page is made."""

    name: str
    title: str
    description: str
    owner: str | None
    updated_at: int
    version: int
    versions: int
    state: VersionState
    sunset: int | None
    evaluated: bool
    facts: Facts

    def holds(self, words: Iterable[str]) -> bool:
        """Whether every word, in lower case, is in what is said of the model."""
        text = "\n".join((self.name, self.title, self.description, self.owner or "")).casefold()
        return all(word in text or word in self.facts.words for word in words)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader asks for; None: whatever it is."""

    search: str = ""
    task: Task | None = None
    state: VersionState | None = None
    owner: str | None = None
    serving: ServingState | None = None
    evaluated: bool | None = None
    p99_ms: float | None = None
    """No slower than this; a model that nobody has called is left out."""
    sort: Sort = "name"


class Found(msgspec.Struct, frozen=True):
    """Listings in their order, and what they may be filtered by."""

    listings: list[Listing]
    choices: Choices

    def page(self, after: str, limit: int, sort: Sort) -> tuple[list[Listing], str | None]:
        """At most ``limit`` of them behind ``after``, and the ``after`` of the following page."""
        start = self._start(after, sort)
        end = start + limit
        found = self.listings[start:end]
        if end >= len(self.listings) or not found:
            return found, None
        last = found[-1].name
        return found, last if sort == "name" else f"{end}:{last}"

    def _start(self, after: str, sort: Sort) -> int:
        if not after:
            return 0
        if sort == "name":
            return sum(listing.name <= after for listing in self.listings)
        # The order may have moved since: behind the model that was last, or where that stood.
        place, _, name = after.partition(":")
        for index, listing in enumerate(self.listings):
            if listing.name == name:
                return index + 1
        return int(place) if place.isascii() and place.isdecimal() and len(place) < 10 else 0  # noqa: PLR2004


def select(
    listings: list[Listing],
    wish: Wish,
    latencies: Mapping[str, Latency],
    serving: Callable[[str, int], ServingState],
) -> Found:
    """The listings that the wish leaves."""
    words = wish.search.casefold().split()[:MAX_WORDS]
    searched = [one for one in listings if one.holds(words)] if words else listings
    tests = _tests(wish, latencies, serving)

    def left(but: Facet | None = None) -> list[Listing]:
        asked = [test for facet, test in tests.items() if facet != but]
        return [one for one in searched if all(test(one) for test in asked)]

    choices = Choices(
        task=_counted(one.facts.task for one in left("task")),
        state=_counted(one.state for one in left("state")),
        owner=_counted(one.owner for one in left("owner") if one.owner)[:MAX_OWNERS],
    )
    return Found(_ordered(left(), wish.sort, latencies), choices)


def _tests(
    wish: Wish,
    latencies: Mapping[str, Latency],
    serving: Callable[[str, int], ServingState],
) -> dict[Facet, Callable[[Listing], bool]]:
    tests: dict[Facet, Callable[[Listing], bool]] = {}
    if wish.task is not None:
        tests["task"] = lambda one: one.facts.task == wish.task
    if wish.state is not None:
        tests["state"] = lambda one: one.state == wish.state
    if wish.owner is not None:
        tests["owner"] = lambda one: one.owner == wish.owner
    if wish.serving is not None:
        tests["serving"] = lambda one: serving(one.name, one.version) == wish.serving
    if wish.evaluated is not None:
        tests["evaluated"] = lambda one: one.evaluated == wish.evaluated
    most = wish.p99_ms
    if most is not None:
        tests["p99_ms"] = lambda one: _p99(latencies.get(one.name)) <= most
    return tests


def _p99(latency: Latency | None) -> float:
    return float("inf") if latency is None or latency.p99_ms is None else latency.p99_ms


def _ordered(
    listings: list[Listing], sort: Sort, latencies: Mapping[str, Latency]
) -> list[Listing]:
    def key(one: Listing) -> tuple[float, str]:
        latency = latencies.get(one.name)
        match sort:
            case "newest":
                return -one.updated_at, one.name
            case "calls":
                return -(0 if latency is None else latency.requests), one.name
            case "latency":
                return _p99(latency), one.name
            case "name":
                return 0, one.name

    return sorted(listings, key=key)


def _counted(values: Iterable[str]) -> list[Choice]:
    counts = Counter(values)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [Choice(value=value, models=count) for value, count in ordered]
