"""Comparisons where requests are of very different sizes, and the rows of one request alike: the
hardest case, in which a thousand rows say as much as one. From rows to evidence, by the sums that
engines make and the bets that the guard makes on them."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import pytest

from monitoring.evidence import Floats, begin, bet, log_e_value
from monitoring.proportions import above_limit, counts
from monitoring.shifts import beyond, differences
from serving.comparison import Compared, RequestMeans, means_of

ROLLOUTS: Final = 1000
ALPHAS: Final = (0.01, 0.05)
REQUESTS: Final = 20
"""Requests between two looks."""
ALLOWED_FLIPS: Final = 0.05
ALLOWED_SHIFT: Final = 0.01


class Sizes(NamedTuple):
    """Most requests have one row, and some have many."""

    large: float
    """Share of those."""
    rows: int
    """Rows of each of those."""


MIXED: Final = [Sizes(0.1, 10), Sizes(0.1, 50), Sizes(0.01, 1000)]
LogE = Callable[[list[RequestMeans]], Floats]


def evidence(sizes: Sizes, looks: int, draw: Callable[[int], Floats], log_e: LogE) -> list[Floats]:
    """The evidence of all rollouts after each look. ``draw`` gives that many requests' values, and
    each holds for all rows of its request: a flip where it is above 0.5, and a shift."""
    random = np.random.default_rng(8)
    found, wealth = [], None
    for _ in range(looks):
        number = ROLLOUTS * REQUESTS
        rows = np.where(random.random(number) < sizes.large, sizes.rows, 1)
        values = np.repeat(draw(number), rows)
        flips = dict.fromkeys(np.flatnonzero(values > 0.5).tolist(), ("good", "bad"))
        means = means_of(Compared(len(values), flips, np.abs(values), values), rows.tolist())
        log = log_e(means)
        wealth = bet(begin(log.shape[-1], (ROLLOUTS,)) if wealth is None else wealth, log)
        found.append(log_e_value(wealth))
    return found


def flips_beyond(means: list[RequestMeans]) -> Floats:
    shares = np.array([one.flip_share for one in means], np.float64).reshape(ROLLOUTS, REQUESTS)
    return above_limit(counts(np.full(ROLLOUTS, REQUESTS), shares.sum(axis=1)), ALLOWED_FLIPS)


def shifts_beyond(means: list[RequestMeans]) -> Floats:
    shifts = np.array([one.shift for one in means], np.float64).reshape(ROLLOUTS, REQUESTS)
    batch = differences(
        np.full(ROLLOUTS, REQUESTS), shifts.sum(axis=1), np.square(shifts).sum(axis=1)
    )
    return beyond(batch, ALLOWED_SHIFT, 1.0)


def flipping(share: float) -> Callable[[int], Floats]:
    random = np.random.default_rng(9)
    return lambda number: (random.random(number) < share).astype(np.float64)


def shifting(mean: float, scatter: float) -> Callable[[int], Floats]:
    random = np.random.default_rng(10)
    return lambda number: mean + scatter * random.choice([-1.0, 1.0], number)


def keeps_alpha(after: list[Floats]) -> bool:
    highest = np.max(after, axis=0)
    return all((highest >= -np.log(alpha)).mean() <= alpha for alpha in ALPHAS)


def caught(after: list[Floats]) -> float:
    """Share of the rollouts with an alarm at alpha 0.01."""
    share: float = (np.max(after, axis=0) >= np.log(100)).mean()
    return share


@pytest.mark.parametrize("sizes", MIXED)
def test_as_many_flips_as_allowed_raise_at_most_alpha_false_alarms(sizes: Sizes) -> None:
    assert keeps_alpha(evidence(sizes, 30, flipping(ALLOWED_FLIPS), flips_beyond))


@pytest.mark.parametrize("sizes", MIXED)
def test_a_shift_as_allowed_raises_at_most_alpha_false_alarms(sizes: Sizes) -> None:
    assert keeps_alpha(evidence(sizes, 20, shifting(ALLOWED_SHIFT, 0.3), shifts_beyond))


def test_twice_the_flips_that_are_allowed_are_caught_within_800_requests() -> None:
    looks = 800 // REQUESTS
    found = evidence(MIXED[0], looks, flipping(2 * ALLOWED_FLIPS), flips_beyond)
    assert caught(found) >= 0.95


def test_ten_times_the_shift_that_is_allowed_is_caught_within_300_requests() -> None:
    looks = 300 // REQUESTS
    found = evidence(MIXED[1], looks, shifting(10 * ALLOWED_SHIFT, 0.1), shifts_beyond)
    assert caught(found) >= 0.95
