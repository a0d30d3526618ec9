"""Permutation importance (Breiman, 2001): by how much the main metric gets worse when a column's
values are dealt out to other rows, on the version's own engine."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tollway.evaluation.evidence import Importance

Array = npt.NDArray[Any]

MOST_COLUMNS = 2000
"""That evidence can hold: the most important ones."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the tensors a column is."""

    column: str
    input: str
    index: int | None
    """In the last dimension; None: the tensor is this column alone."""


def places(columns: Sequence[Mapping[str, Any]], feeds: Mapping[str, Array]) -> list[Place]:
    """The columns of a version: as it declares them, else each feature of its tensors."""
    if columns:
        return [Place(c["name"], c["input"], c.get("index")) for c in columns]
    found = []
    for name, array in feeds.items():
        if array.ndim != 2 or array.shape[1] == 1:  # noqa: PLR2004 -- rows of features
            found.append(Place(name, name, None))
        else:
            found += [Place(f"{name}[{i}]", name, i) for i in range(array.shape[1])]
    return found


def measure(
    feeds: Mapping[str, Array],
    columns: Sequence[Place],
    repeats: int,
    loss: Callable[[Mapping[str, Array]], float],
    rng: np.random.Generator,
) -> tuple[Importance, ...]:
    """The importances, greatest first. ``loss`` scores tensors: lower is better."""
    base = loss(feeds)
    found = []
    for place in columns:
        worse = [loss(shuffled) - base for shuffled in _shuffled(feeds, place, repeats, rng)]
        found.append(
            Importance(
                column=place.column, mean=float(np.mean(worse)), deviation=float(np.std(worse))
            )
        )
    found.sort(key=lambda one: -one.mean)
    return tuple(found[:MOST_COLUMNS])


def _shuffled(
    feeds: Mapping[str, Array], place: Place, repeats: int, rng: np.random.Generator
) -> Iterator[dict[str, Array]]:
    given = feeds[place.input]
    for _ in range(repeats):
        order = rng.permutation(len(given))
        if place.index is None:
            mixed = given[order]
        else:
            mixed = given.copy()
            mixed[..., place.index] = given[order][..., place.index]
        yield {**feeds, place.input: mixed}
