"""What the engines of each version have counted, kept beyond their end: sums only ever grow."""

from collections.abc import Callable, Collection, Iterable
from typing import Final

from gateway.connection import VersionKey
from protocol.frames import BatchStats, ContractStats, EngineStats

MOST_GONE: Final = 64
"""Engines of a version that are remembered one by one after their end: one whose connection was
lost, and which lives, is known again by its name."""
_SUMMED: Final = "earlier engines"
"""The name under which all earlier ones are."""
_COUNTS: Final = (
    "inference_count", "execution_count", "success_count", "success_ns", "fail_count", "fail_ns",
    "queue_ns", "compute_input_ns", "compute_infer_ns", "compute_output_ns",
)  # fmt: skip


class Counts:
    """The last that each engine told, by version and by the name of its process."""

    def __init__(self) -> None:
        self._told: dict[VersionKey, dict[str, EngineStats]] = {}

    def note(self, key: VersionKey, instance: str, stats: EngineStats) -> None:
        """An engine has told its counts: they take the place of what it told before."""
        self._told.setdefault(key, {})[instance] = stats

    def others(self, key: VersionKey, present: Collection[str]) -> list[EngineStats]:
        """What the engines that are not ``present`` told last."""
        told = self._told.get(key, {})
        return [stats for instance, stats in told.items() if instance not in present]

    def fold(self, connected: Collection[str]) -> None:
        """Sum up the oldest of those that are gone where there are too many of them."""
        for told in self._told.values():
            gone = [name for name in told if name not in connected and name != _SUMMED]
            for name in gone[: max(len(gone) - MOST_GONE, 0)]:
                told[_SUMMED] = added(told.get(_SUMMED, EngineStats()), told.pop(name))

    def keep(self, known: Callable[[VersionKey], bool]) -> None:
        """Forget the versions that are not ``known`` any more."""
        self._told = {key: told for key, told in self._told.items() if known(key)}


def added(one: EngineStats, other: EngineStats) -> EngineStats:
    """The sum of two engines' counts, as far as statistics have them of engines that are gone."""
    batches: dict[int, BatchStats] = {}
    for rows in one.batches.keys() | other.batches.keys():
        a, b = (found.batches.get(rows, BatchStats()) for found in (one, other))
        batches[rows] = BatchStats(
            a.count + b.count,
            a.input_ns + b.input_ns,
            a.infer_ns + b.infer_ns,
            a.output_ns + b.output_ns,
        )
    return EngineStats(
        **{name: getattr(one, name) + getattr(other, name) for name in _COUNTS},
        last_inference_ms=max(one.last_inference_ms, other.last_inference_ms),
        batches=batches,
        contract=contracts([one, other]),
    )


def contracts(engines: Iterable[EngineStats]) -> ContractStats | None:
    """What was outside of data contracts, over all engines, beside the contract that the first of
    them tells of; None: none tells of any."""
    found = [engine.contract for engine in engines if engine.contract is not None]
    if not found:
        return None
    values: dict[str, dict[str, int]] = {}
    for one in found:
        for column, rules in one.values.items():
            sums = values.setdefault(column, {})
            for rule, count in rules.items():
                sums[rule] = sums.get(rule, 0) + count
    return ContractStats(
        mode=found[0].mode,
        rules=found[0].rules,
        unmatched=found[0].unmatched,
        refused=sum(one.refused for one in found),
        warned=sum(one.warned for one in found),
        values=values,
    )
