"""Which coalitions of columns an explanation asks about, and what their answers come to.

A coalition's columns have the explained row's values, all others those of background rows. Shapley
values weigh what each column adds to every coalition of the others (Shapley 1953); where there are
too many, to those along sampled permutations of the columns, each with its reverse (Castro et al.
2009; antithetic: Mitchell et al. 2022). Either way they add up to the difference between the whole
row's answer and the background's, but for rounding.
"""

import hashlib
from math import comb
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

Masks = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]

_MOST_ENUMERATED: Final = 16
"""Columns; 2 ** this many coalitions are kept in memory at most."""
_MIX: Final = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


class Plan(Protocol):
    """The coalitions beside the empty and the full one."""

    exact: bool
    """Whether all coalitions are asked about."""
    size: int
    """How many there are."""

    def masks(self, first: int, stop: int) -> Masks:
        """Of coalitions ``first`` to ``stop``: which columns are in it, ``[coalition, column]``."""
        ...

    def contributions(self, empty: Numbers, full: Numbers, values: Numbers) -> Numbers:
        """``[column, value]`` from the answers ``[coalition, value]``, and those of the empty and
        the full coalition ``[value]``."""
        ...


def planned(columns: list[str], permutations: int, seed: int) -> Plan:
    """Every coalition where that asks no more than ``permutations`` and their reverses would."""
    count = len(columns)
    sampled = 2 * permutations * (count - 1)
    if count <= _MOST_ENUMERATED and 2**count - 2 <= sampled:
        return Enumeration(count)
    return Permutations(columns, permutations, seed)


def planned_size(columns: int, permutations: int) -> int:
    """The size of that plan, without making it."""
    sampled = 2 * permutations * (columns - 1)
    return min(2**columns - 2, sampled) if columns <= _MOST_ENUMERATED else sampled


class Enumeration:
    """Every coalition: exact values. Coalition ``n`` has the columns of the bits of ``n + 1``."""

    exact = True

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self.size = 2**columns - 2

    def masks(self, first: int, stop: int) -> Masks:
        """See :class:`Plan`."""
        numbers = np.arange(first + 1, stop + 1)
        return (numbers[:, None] >> np.arange(self._columns)) & 1 > 0

    def contributions(self, empty: Numbers, full: Numbers, values: Numbers) -> Numbers:
        """See :class:`Plan`."""
        count = self._columns
        answers = np.concatenate([empty[None], values, full[None]])
        numbers = np.arange(2**count)
        sizes = ((numbers[:, None] >> np.arange(count)) & 1).sum(axis=1)
        weights = np.array([1 / (count * comb(count - 1, size)) for size in range(count)])
        found = np.empty((count, answers.shape[1]))
        for column in range(count):
            without = numbers[(numbers >> column) & 1 == 0]
            gained = answers[without | (1 << column)] - answers[without]
            found[column] = weights[sizes[without]] @ gained
        return found


class Permutations:
    """Prefixes of permutations of the columns, and of their reverses.

    A permutation is the order of hashes of the columns' names, so that it does not depend on the
    order that the columns have, nor on a library's generator.
    """

    exact = False

    def __init__(self, columns: list[str], permutations: int, seed: int) -> None:
        count = len(columns)
        self._columns = count
        self._steps = count - 1
        self.size = 2 * permutations * self._steps
        names = np.array([_hashed(name) for name in columns], np.uint64)
        ranks = np.empty((permutations, count), np.int64)
        for index in range(permutations):
            mixed = _mixed(names ^ np.uint64(_hashed(f"{seed}/{index}")))
            ranks[index, np.argsort(mixed, kind="stable")] = np.arange(count)
        # Each permutation is followed by its reverse.
        self._ranks = np.stack([ranks, count - 1 - ranks], axis=1).reshape(-1, count)

    def masks(self, first: int, stop: int) -> Masks:
        """See :class:`Plan`."""
        orders, steps = np.divmod(np.arange(first, stop), self._steps)
        return self._ranks[orders] <= steps[:, None]

    def contributions(self, empty: Numbers, full: Numbers, values: Numbers) -> Numbers:
        """See :class:`Plan`."""
        found = np.zeros((self._columns, values.shape[1]))
        for order, ranks in enumerate(self._ranks):
            between = values[order * self._steps : (order + 1) * self._steps]
            answers = np.concatenate([empty[None], between, full[None]])
            found += np.diff(answers, axis=0)[ranks]
        return found / len(self._ranks)


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al. 2014): every bit depends on every bit."""
    numbers = numbers + _MIX[0]
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _MIX[1]
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _MIX[2]
    return numbers ^ (numbers >> np.uint64(31))
