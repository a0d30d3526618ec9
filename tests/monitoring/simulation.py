"""Many rollouts at once, by the arithmetic that guards a real one."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from monitoring.evidence import Floats, begin, bet, family, log_e_value
from monitoring.proportions import ODDS, above_control, counts, expected_share


class Rollout(NamedTuple):
    """How simulated rollouts go."""

    stable: float
    """Share of harm of the stable version."""
    canary: float
    shares: Sequence[float] = (0.01, 0.05, 0.25, 0.5)
    """The canary's share of the traffic in each step."""
    batches: int = 100
    """Looks in a step."""
    requests: int = 100
    """Requests, of both versions, between two looks."""
    margin: float = 0.0
    tests: int = 1
    """Tests in the family; the others have seen nothing and stand at 1."""
    drift: Callable[[int], float] = lambda _look: 1.0
    """What multiplies the harm of both, by the number of the look."""


def evidence_of(rollout: Rollout, times: int, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """After every batch of ``times`` rollouts: how many requests the canary has answered, and the
    logarithm of the family's e-value."""
    random = np.random.default_rng(seed)
    wealth = begin(len(ODDS), (times,))
    seen, harmed, answered = np.zeros(times), np.zeros(times), np.zeros(times)
    others = np.zeros((times, rollout.tests - 1))
    look = 0
    for share in rollout.shares:
        for _ in range(rollout.batches):
            load = rollout.drift(look)
            n_c = random.binomial(rollout.requests, share, times)
            n_s = rollout.requests - n_c
            x_c = random.binomial(n_c, min(rollout.canary * load, 1))
            x_s = random.binomial(n_s, min(rollout.stable * load, 1))
            expected = expected_share(counts(seen, harmed))
            batch = counts(n_c, x_c), counts(n_s, x_s)
            wealth = bet(wealth, above_control(*batch, expected, rollout.margin))
            seen, harmed, answered = seen + n_s, harmed + x_s, answered + n_c
            yield answered, family(np.concatenate([log_e_value(wealth)[:, None], others], axis=-1))
            look += 1


def highest_evidence(rollout: Rollout, times: int, seed: int) -> Floats:
    """The most that each of ``times`` rollouts came to, looked at after every batch: which is what
    would spoil a test of a fixed size."""
    highest = np.full(times, -np.inf)
    for _, evidence in evidence_of(rollout, times, seed):
        highest = np.maximum(highest, evidence)
    return highest


def requests_until_alarm(rollout: Rollout, alpha: float, times: int, seed: int) -> Floats:
    """How many requests the canary had answered at the first look with an alarm, for each of
    ``times`` rollouts; infinite where there was none."""
    found = np.full(times, np.inf)
    for answered, evidence in evidence_of(rollout, times, seed):
        alarm = (evidence >= -np.log(alpha)) & np.isinf(found)
        found[alarm] = answered[alarm]
        if np.isfinite(found).all():
            break
    return found
