"""The data contract at the engine: what the inputs of a request may hold, by column.

A contract is checked between decoding and batching, one request at a time, so that nobody's rows
fail with another's. What is checked is the tensors, which are the same however a request was
written (V1 or V2, JSON or binary). Of a whole tensor the limits and NaN are looked at at once;
which column and which row it was is worked out only where something is wrong.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from protocol.configuration import ColumnRule, ContractDoc
from protocol.errors import Code, TollwayError
from protocol.frames import ContractStats
from serving.call import Call
from serving.contract_rules import Breach, Column, Place, comparable, is_float
from serving.signature import Signature
from serving.tensors import Array, TensorSpec, show

TOLD: Final = 5
"""Breaches that an error names; more are counted."""
MAX_COUNTED: Final = 200
"""Pairs of column and rule that are counted apart; those beyond are counted under no name."""
OTHERS: Final = ""


class Tally:
    """What contracts have found since the engine started. A new contract goes on with it."""

    def __init__(self) -> None:
        self.refused = self.warned = 0
        """Requests."""
        self.values: dict[str, dict[str, int]] = {}
        """Column -> rule -> values that broke it."""
        self._pairs = 0

    def count(self, breaches: list[Breach], *, refused: bool) -> None:
        """A request had these."""
        self.refused += refused
        self.warned += not refused
        for breach in breaches:
            rules = self.values.get(breach.column, {})
            if breach.rule not in rules:
                if self._pairs >= MAX_COUNTED:
                    rules = self.values.setdefault(OTHERS, {})
                    rules["other"] = rules.get("other", 0) + breach.count
                    continue
                self._pairs += 1
                rules = self.values.setdefault(breach.column, {})
            rules[breach.rule] = rules.get(breach.rule, 0) + breach.count


class Contract:
    """A contract made ready for one version's inputs."""

    def __init__(self, document: ContractDoc, signature: Signature, tally: Tally) -> None:
        self.document = document
        self._tally = tally
        self.unmatched: list[str] = []
        """Why rules cannot be checked on this version: its columns may be others than those of the
        version that the contract was written for."""
        self._columns = sorted(self._placed(signature), key=lambda column: column.place.input)
        bounded = [column for column in self._columns if _is_bounded(column)]
        self._ranges = [
            Range(spec, together)
            for index, spec in enumerate(signature.inputs)
            for whole in (False, True)
            if (together := [c for c in bounded if (c.place.input, _is_whole(c)) == (index, whole)])
        ]
        self._looked_up = [column for column in self._columns if column.looks_at_each]
        self._must_be_given = [
            column
            for column in self._columns
            if column.place.spec.optional and not column.rule.nulls
        ]

    def _placed(self, signature: Signature) -> Iterator[Column]:
        for rule in self.document.rules:
            place = _place(rule, signature)
            if place is None:
                self.unmatched.append(f"the version has no column {show(rule.column)}")
                continue
            try:
                yield Column(rule, place)
            except ValueError as error:
                self.unmatched.append(str(error))

    def check(self, call: Call) -> bool:
        """Whether a request keeps to the contract. Raises ``CONTRACT_VIOLATION``, with the row, the
        column and the rule, for one that does not and is not to be answered."""
        feeds = call.feeds
        suspects = self._suspects(feeds)
        if not suspects:
            return True
        breaches = [
            breach
            for column in self._columns
            if column in suspects
            for breach in column.breaches(feeds[column.place.input])
        ]
        if not breaches:
            return True  # a null among categories, where nulls are allowed
        refused = self.document.mode == "enforce"
        self._tally.count(breaches, refused=refused)
        if refused:
            raise TollwayError(Code.CONTRACT_VIOLATION, told(breaches))
        return False

    def _suspects(self, feeds: list[Array | None]) -> set[Column]:
        """The columns that have to be looked at closely; nearly always none."""
        found: set[Column] = set()
        for column in self._must_be_given:
            if feeds[column.place.input] is None:
                found.add(column)
        for one in self._ranges:
            feed = feeds[one.input]
            if feed is not None and not one.holds(feed):
                found |= one.suspects(feed)
        for column in self._looked_up:
            feed = feeds[column.place.input]
            if feed is not None and not column.holds(feed):
                found.add(column)
        return found


class Contracts:
    """The contract that an engine holds requests to now, and what all of them have found."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._tally = Tally()
        self.present: Contract | None = None

    def obey(self, document: ContractDoc | None) -> None:
        """Hold requests that come from now on to this contract; None: to none."""
        self.present = (
            None if document is None else Contract(document, self._signature, self._tally)
        )

    def stats(self) -> ContractStats | None:
        """What there is to be known, and what was found since the engine started; None: nothing
        holds, and nothing did."""
        found = self._tally
        if self.present is None and not found.refused and not found.warned:
            return None
        return ContractStats(
            mode="none" if self.present is None else self.present.document.mode,
            rules=0 if self.present is None else len(self.present.document.rules),
            unmatched=[] if self.present is None else self.present.unmatched,
            refused=found.refused,
            warned=found.warned,
            values=found.values,
        )


class Range:
    """The limits of all columns of one tensor of numbers, and whether they may be NaN."""

    def __init__(self, spec: TensorSpec, columns: list[Column]) -> None:
        """``columns``: all in the last dimension, or all the whole tensor."""
        self.input = columns[0].place.input
        self._columns = columns
        self._spec = spec
        self._impossible = False
        width = max((c.place.index + 1 for c in columns if c.place.index is not None), default=0)
        self._width = width
        """Columns in the last dimension that there is anything to check of; 0: the whole tensor is
        one column."""
        kind = np.dtype(np.float32) if spec.datatype == "BF16" else spec.dtype
        kind = np.dtype(np.uint8) if spec.datatype == "BOOL" else kind
        bounds = (-np.inf, np.inf) if is_float(spec) else _integers(kind)
        low = np.full(max(width, 1), bounds[0], kind)
        high = np.full(max(width, 1), bounds[1], kind)
        needed = np.zeros(max(width, 1), np.bool_)
        for column in columns:
            at = column.place.index or 0
            self._impossible |= column.low > bounds[1] or column.high < bounds[0]
            low[at] = max(low[at], min(column.low, bounds[1]))
            high[at] = min(high[at], max(column.high, bounds[0]))
            needed[at] |= not column.rule.nulls
        self._low, self._high = low, high
        self._needed = needed if is_float(spec) and needed.any() else None
        self._all_needed = bool(needed.all())

    def holds(self, feed: Array) -> bool:
        """Whether all of the tensor's numbers are within their limits, and there where they must
        be."""
        if self._impossible:
            return not feed.size
        if self._width:
            feed = feed[..., : self._width]
            if feed.shape[-1] != self._width:
                return False  # a dimension that varies, and lacks columns
        values = comparable(feed, self._spec)
        if self._all_needed:  # NaN is neither at least the one nor at most the other
            return bool(((values >= self._low) & (values <= self._high)).all())
        if ((values < self._low) | (values > self._high)).any():
            return False
        return self._needed is None or not (np.isnan(values) & self._needed).any()

    def suspects(self, feed: Array) -> set[Column]:
        """The columns in which something does not hold, NaN where it may be included."""
        if self._impossible or not self._width or feed.shape[-1] < self._width:
            return set(self._columns)
        values = comparable(feed[..., : self._width], self._spec)
        wrong = ~((values >= self._low) & (values <= self._high))
        places = set(np.flatnonzero(wrong.reshape(-1, self._width).any(axis=0)).tolist())
        return {column for column in self._columns if column.place.index in places}


def told(breaches: list[Breach]) -> str:
    """The first breaches by row, in a sentence."""
    first = sorted(breaches, key=lambda breach: breach.row)[:TOLD]
    words = "; ".join(f"row {breach.row}, {breach.words}" for breach in first)
    others = sum(breach.count for breach in breaches) - len(first)
    more = f" (and {others} more values outside of the data contract)" if others else ""
    return words + more


def _place(rule: ColumnRule, signature: Signature) -> Place | None:
    for column in signature.manifest.columns:
        if column.name == rule.column and column.input in signature.position:
            index = signature.position[column.input]
            what = f"column {show(rule.column)}"
            return Place(what, index, column.index, column.null, signature.inputs[index])
    found = signature.position.get(rule.column)
    if found is None:
        return None
    return Place(f"input {show(rule.column)}", found, None, None, signature.inputs[found])


def _is_whole(column: Column) -> bool:
    return column.place.index is None


def _is_bounded(column: Column) -> bool:
    rule = column.rule
    limited = rule.minimum is not None or rule.maximum is not None
    return not column.is_text and (limited or (column.is_float and not rule.nulls))


def _integers(kind: np.dtype[Any]) -> tuple[int, int]:
    return int(np.iinfo(kind).min), int(np.iinfo(kind).max)
