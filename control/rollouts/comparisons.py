"""Where a guard learns how the canary's answers compare with those of stable."""

from collections.abc import Callable

from control.rollouts.progress import Compared
from control.store.disagreements import DisagreementStore

Comparisons = Callable[[str, int, int, int], Compared]
"""``comparisons(model, version, against, since_ms)``: everything compared of the version with
``against`` since then. It has a transaction of its own."""


def nothing_compared(_model: str, _version: int, _against: int, _since_ms: int) -> Compared:
    """The answer where nothing is."""
    return Compared()


def from_shadows(store: DisagreementStore) -> Comparisons:
    """What shadows were found to answer otherwise: a canary that is guarded by comparisons is a
    shadow as well."""

    def compared(model: str, version: int, against: int, since_ms: int) -> Compared:
        found = store.since(model, version, against, since_ms)
        return Compared(
            requests=max(found.requests - found.failed, 0),
            labelled_requests=found.labelled_requests,
            flip_shares=found.flip_shares,
            measured_requests=found.measured_requests,
            request_shifts=found.request_shifts,
            request_shift_squares=found.request_shift_squares,
            largest=found.largest,
        )

    return compared
