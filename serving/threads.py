"""How many threads a run gets inside ONNX Runtime: measured, where it could matter.

Small models lose by a second thread: waking it costs more than it does. Large ones may gain, or
not: trees and matrices split well, long chains of small operators do not. So a model whose run is
quick is left alone, and another one is tried both ways on the rows that it is warmed up with.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar

LARGE_S: Final = 0.004
"""A run that is quicker on one thread stays on it, untried."""
MARGIN: Final = 1.4
"""How many times quicker several threads must be: they take several cores from everybody else."""
TRIES: Final = 3
"""The quickest run counts: whatever else the machine does only makes runs longer."""
SLOW_S: Final = 1.0
"""A run that takes this long is not repeated."""


class Timed(Protocol):
    """What is loaded with so many threads, and run."""

    def once(self) -> bool:
        """Run typical rows; False if they do not run."""
        ...


Loaded = TypeVar("Loaded", bound=Timed)


def chosen(
    load: Callable[[int], Loaded],
    fixed: int,
    cores: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Loaded, int, str]:
    """What is loaded, with how many threads, and why so many.

    ``fixed`` threads if that is not 0, else one or ``cores``. Never holds two at once: a model that
    is large enough to be measured may fill the memory by itself.
    """
    if fixed:
        return load(fixed), fixed, "set by TOLLWAY_ENGINE_THREADS"
    present = load(1)
    if cores <= 1:
        return present, 1, "there is one core"
    alone = _quickest(present, clock)
    if alone is None:
        return present, 1, "no typical rows ran, so that it could not be tried"
    if alone < LARGE_S:
        return present, 1, f"a run takes {alone * 1e3:.3g} ms: too short to gain by more"
    del present
    present = load(cores)
    together = _quickest(present, clock)
    if together is not None and alone > MARGIN * together:
        how = f"a run takes {together * 1e3:.3g} ms on {cores}, {alone * 1e3:.3g} ms on 1"
        return present, cores, how
    del present
    shown = "no answer" if together is None else f"{together * 1e3:.3g} ms"
    return load(1), 1, f"a run takes {alone * 1e3:.3g} ms on 1, {shown} on {cores}"


def _quickest(loaded: Timed, clock: Callable[[], float]) -> float | None:
    """The shortest of a few runs, after one that touches everything; None if they fail."""
    if not loaded.once():
        return None
    found: float | None = None
    for _ in range(TRIES):
        begun = clock()
        if not loaded.once():
            return None
        took = clock() - begun
        found = took if found is None else min(found, took)
        if took >= SLOW_S:
            break
    return found
