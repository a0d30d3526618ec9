"""What an engine's comparisons add up to, until its agent has taken it: each summary once.

A summary keeps its number and its content until its receipt is acknowledged; what is compared
meanwhile goes into the next one. Memory is bounded: by the places of a summary, the pairs of a
tally and the examples.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from protocol.shadowing import (
    OTHERS,
    Disagreements,
    Example,
    Failure,
    Mirrored,
    Place,
    Tally,
)
from serving.answers import Answer
from serving.call import Call
from serving.comparison import Compared, count, count_request, means_of, part_of
from serving.segments import Columns, Segments
from serving.signature import Signature
from serving.tensors import Array

MAX_PLACES: Final = 2_000
"""Places in a summary; applications beyond are counted together."""
MAX_EXAMPLES: Final = 5
"""Examples in a summary, those that differ most."""
SHOWN_VALUES: Final = 64
"""Columns, and values of an output, that an example shows."""
SHOWN_CHARACTERS: Final = 200

_encoder: Final = msgspec.msgpack.Encoder()


class Answered(NamedTuple):
    """A request that the shadow has run, and what was answered."""

    item: Mirrored
    call: Call
    answer: Answer
    segments: Segments


def stacks(answered: Sequence[Answered]) -> Iterator[list[Answered]]:
    """Those that can be compared at once: their rows follow on one another in one run, and their
    answers have the same outputs."""
    open_: list[Answered] = []
    form: object = None
    for one in answered:
        last = open_[-1].call if open_ else None
        follows = last is not None and last.results is one.call.results
        if follows and last is not None and last.stop == one.call.start and _form(one) == form:
            open_.append(one)
            continue
        if open_:
            yield open_
        open_, form = [one], _form(one)
    if open_:
        yield open_


def _form(one: Answered) -> object:
    """Equal for answers that can be stacked; of one whose outputs have no row for each of the
    request's only to itself."""
    rows = one.call.rows
    if any(not array.ndim or array.shape[0] != rows for array in one.answer.values()):
        return object()
    return {name: (array.shape[1:], array.dtype.kind) for name, array in one.answer.items()}


def stacked(alike: Sequence[Answered]) -> Answer:
    """Their answers as one."""
    if len(alike) == 1:
        return alike[0].answer
    return {name: np.concatenate([one.answer[name] for one in alike]) for name in alike[0].answer}


class DisagreementLog:
    """Adds up comparisons for one shadow version in one engine."""

    def __init__(
        self,
        signature: Signature,
        columns: Columns,
        instance: str,
        now: Callable[[], float],
    ) -> None:
        """``now`` gives UNIX seconds."""
        self._signature = signature
        self._columns = columns
        self._instance = instance
        self._now = now
        self._tallies: dict[Place, Tally] = {}
        self._examples: list[Example] = []
        self._sent: bytes | None = None
        self._sequence = 0

    def failed(self, item: Mirrored, reason: Failure) -> None:
        """A request's answers could not be compared."""
        tally = self._at(self._place(item, ""))
        tally.requests += 1
        tally.failures[reason] = tally.failures.get(reason, 0) + 1

    def compared(self, alike: Sequence[Answered], found: Compared) -> None:
        """Requests of one run were compared; ``found`` is about the rows of all of them."""
        inside: dict[Place, list[tuple[slice, Array | bool]]] = {}
        start = 0
        means = means_of(found, [one.call.rows for one in alike])
        for one, of_request in zip(alike, means, strict=True):
            rows = one.call.rows
            part = slice(start, start + rows)
            start += rows
            place = self._place(one.item, "")
            count_request(self._at(place), of_request)
            inside.setdefault(place, []).append((part, True))
            masks = one.segments.masks(one.call.feeds, rows) if one.segments else {}
            for segment, mask in masks.items():
                inside.setdefault(self._place(one.item, segment), []).append((part, mask))
            if one.item.kept:
                self._keep_example(one, part_of(found, part.start, part.stop))
        for place, parts in inside.items():
            if not place.segment and len(parts) == len(alike):
                count(self._at(place), found)
                continue
            chosen = np.zeros(found.rows, np.bool_)
            for where, which in parts:
                chosen[where] = which
            count(self._at(place), found, chosen)

    def summary(self, acknowledged: int) -> bytes:
        """MessagePack of the oldest :class:`Disagreements` that was not taken; empty when there is
        nothing to tell. ``acknowledged``: sequence of the newest that was."""
        if self._sent is not None and acknowledged >= self._sequence:
            self._sent = None
        if self._sent is None and self._tallies:
            self._sequence += 1
            self._sent = _encoder.encode(
                Disagreements(
                    instance=self._instance,
                    sequence=self._sequence,
                    model=self._signature.model,
                    version=self._signature.version,
                    tallies=list(self._tallies.items()),
                    examples=self._examples,
                )
            )
            self._tallies = {}
            self._examples = []
        return self._sent or b""

    def _place(self, item: Mirrored, segment: str) -> Place:
        place = Place(int(self._now() // 60), item.version, item.application, segment)
        if place not in self._tallies and len(self._tallies) >= MAX_PLACES:
            # By the hour: a summary that control does not take for long stays bounded, too.
            return Place(place.minute - place.minute % 60, item.version, OTHERS, segment)
        return place

    def _at(self, place: Place) -> Tally:
        tally = self._tallies.get(place)
        if tally is None:
            tally = self._tallies[place] = Tally()
        return tally

    # examples

    def _keep_example(self, one: Answered, found: Compared) -> None:
        """Keep the row that differs most, if it belongs to those that differ most of all."""
        item, call, answer = one.item, one.call, one.answer
        row, flipped, difference = _worst(found)
        if row is None:
            return
        if len(self._examples) >= MAX_EXAMPLES:
            least = min(self._examples, key=_rank)
            if (flipped, difference) <= _rank(least):
                return
            self._examples.remove(least)
        self._examples.append(
            Example(
                at_ms=int(self._now() * 1000),
                against=item.version,
                application=item.application,
                prediction_id=item.prediction_id.decode("ascii", "replace"),
                row=row,
                flipped=flipped,
                difference=difference,
                inputs={
                    name: _shown(self._columns.value(name, call.feeds, call.rows, row))
                    for name in self._columns.names[:SHOWN_VALUES]
                }
                if self._columns.has_values(call.feeds, call.rows)
                else self._rows_of_inputs(call.feeds, row),
                answered={name: _row(array, row) for name, array in answer.items()},
                shadow=self._shadow_row(call, row),
            )
        )

    def _rows_of_inputs(self, feeds: Sequence[Array | None], row: int) -> dict[str, object]:
        named = zip(self._signature.inputs, feeds, strict=True)
        return {spec.name: _row(feed, row) for spec, feed in named if feed is not None}

    def _shadow_row(self, call: Call, row: int) -> dict[str, object]:
        results = call.results
        assert results is not None
        return {
            spec.name: _row(results.array(index, call.start, call.stop), row)
            for index, spec in enumerate(self._signature.outputs)
            if results.arrays[index] is not None
        }


def _rank(example: Example) -> tuple[bool, float]:
    return example.flipped, example.difference


def _worst(found: Compared) -> tuple[int | None, bool, float]:
    """The row that differs most, a flip before any number: its place, whether it flips, by how
    much its numbers differ."""
    differences = found.differences
    flips = found.flips or {}

    def difference(row: int) -> float:
        value = 0.0 if differences is None else float(differences[row])
        return value if value == value else 0.0  # noqa: PLR0124 -- NaN: a number is missing

    if flips:
        row = max(flips, key=difference)
        return row, True, difference(row)
    if differences is None:
        return None, False, 0.0
    row = max(range(found.rows), key=difference)
    return (row, False, difference(row)) if difference(row) else (None, False, 0.0)


def _row(array: Array, row: int) -> object:
    """A row's values as Python has them; the one value bare."""
    values = array.reshape(-1) if array.ndim == 0 else array[row : row + 1].reshape(-1)
    shown = [_shown(value) for value in values[:SHOWN_VALUES].tolist()]
    return shown[0] if len(shown) == 1 else shown


def _shown(value: object) -> object:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, str):  # what is no text, MessagePack cannot carry as such
        return value[:SHOWN_CHARACTERS].encode("utf-8", "backslashreplace").decode()
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value if isinstance(value, bool | int | float) else None
