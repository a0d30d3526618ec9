"""What the guard declares, by simulation: rollouts of a version that is no worse than the stable
one are rolled back at most as often as alpha says, though they are looked at after every batch; a
version that is worse is found."""

import numpy as np
import pytest

from monitoring.evidence import Floats, begin, bet, log_e_value
from monitoring.proportions import (
    ODDS,
    above_control,
    above_limit,
    counts,
    expected_share,
    upper_bound,
)
from monitoring.shifts import STAKES, beyond, differences
from tests.monitoring.simulation import Rollout, highest_evidence, requests_until_alarm

ROLLOUTS = 1000
ALPHAS = (0.01, 0.05)
"""The default, and one that leaves room to see more than a few alarms."""
DOUBLED = 0.02, 0.04
"""Error rates of the stable version and of the one that is to be caught."""


def keeps_alpha(rollout: Rollout) -> bool:
    return within(highest_evidence(rollout, ROLLOUTS, seed=1))


def within(highest: Floats) -> bool:
    """Whether no alpha has more alarms than it allows."""
    return all((highest >= -np.log(alpha)).mean() <= alpha for alpha in ALPHAS)


@pytest.mark.parametrize("rate", [0.002, 0.02, 0.2])
def test_a_thousand_identical_rollouts_raise_at_most_alpha_false_alarms(
    rate: float,
) -> None:
    assert keeps_alpha(Rollout(stable=rate, canary=rate))


def test_a_load_that_comes_and_goes_for_both_versions_is_no_harm() -> None:
    """The canary's share grows while the errors do: sums over the whole rollout would blame it."""
    growing = Rollout(stable=0.01, canary=0.01, drift=lambda look: 1 + look / 40)
    waves = Rollout(stable=0.01, canary=0.01, drift=lambda look: 1 + 9 * np.sin(look / 40) ** 2)
    assert keeps_alpha(growing)
    assert keeps_alpha(waves)


def test_batches_of_one_request_of_each_or_of_many_raise_no_more_alarms() -> None:
    small = Rollout(stable=0.1, canary=0.1, shares=(0.5,), batches=800, requests=4)
    large = Rollout(stable=0.02, canary=0.02, shares=(0.05, 0.5), batches=20, requests=20_000)
    assert keeps_alpha(small)
    assert keeps_alpha(large)


def test_what_is_within_the_allowed_increase_is_no_harm() -> None:
    allowed = Rollout(stable=0.02, canary=0.03, margin=0.01, batches=25, requests=400)
    assert keeps_alpha(allowed)


@pytest.mark.parametrize(
    ("share", "requests"), [(0.01, 2500), (0.05, 2500), (0.25, 3500), (0.5, 5000)]
)
def test_a_doubled_error_rate_is_caught_within_the_stated_number_of_requests(
    share: float, requests: int
) -> None:
    """2 % to 4 %, alpha 0.01, in a family of two: in 95 of 100 rollouts after so many requests of
    the canary, as ``docs/guides/guarded-canaries.md`` states."""
    stable, canary = DOUBLED
    looks = round(requests / share / 1000) + 1
    doubled = Rollout(stable, canary, (share,), batches=looks, requests=1000, tests=2)
    found = requests_until_alarm(doubled, 0.01, ROLLOUTS, seed=2)
    assert (found <= requests).mean() >= 0.95


@pytest.mark.parametrize(("rate", "times"), [(0.002, 1), (0.02, 1), (0.02, 2)])
def test_at_the_whole_traffic_identical_versions_raise_at_most_alpha_false_alarms(
    rate: float, times: int
) -> None:
    """Where stable has no traffic left the canary is held against the most that stable's errors
    allow for, with a tenth of alpha kept for that; twice the errors are found there as well."""
    alpha, random = 0.05, np.random.default_rng(7)
    wealth, seen, harmed = begin(len(ODDS), (ROLLOUTS,)), np.zeros(ROLLOUTS), np.zeros(ROLLOUTS)
    highest = np.zeros(ROLLOUTS)
    for look in range(150):
        alone = look >= 50
        n_c = np.full(ROLLOUTS, 200 if alone else 100)
        x_c = random.binomial(n_c, rate * times if alone else rate)
        if alone:
            limit = upper_bound(counts(seen, harmed), alpha / 10)
            log_e = above_limit(counts(n_c, x_c), limit)
        else:
            x_s = random.binomial(100, rate, ROLLOUTS)
            expected = expected_share(counts(seen, harmed))
            log_e = above_control(
                counts(n_c, x_c), counts(np.full_like(n_c, 100), x_s), expected, 0
            )
            seen, harmed = seen + 100, harmed + x_s
        wealth = bet(wealth, log_e)
        highest = np.maximum(highest, log_e_value(wealth))
    alarmed = (highest >= -np.log(0.9 * alpha)).mean()
    assert alarmed <= alpha if times == 1 else alarmed >= 0.9


def test_a_version_that_fails_every_other_request_is_caught_within_30_requests() -> None:
    broken = Rollout(0.001, 0.5, (0.1,), batches=100, tests=2)
    found = requests_until_alarm(broken, 0.01, ROLLOUTS, seed=3)
    assert (found <= 30).mean() >= 0.95


def test_a_version_that_turns_bad_after_a_long_good_time_is_caught_as_well() -> None:
    """20,000 good requests of the canary cost it few of the requests after them."""
    random = np.random.default_rng(4)
    wealth = begin(len(ODDS), (200,))
    late = np.full(200, np.inf)
    for batch in range(400):
        rate = 0.01 if batch < 200 else 0.05
        harm = random.binomial(100, rate, 200)
        wealth = bet(wealth, above_limit(counts(np.full(200, 100), harm), 0.01))
        alarm = (log_e_value(wealth) >= np.log(100)) & np.isinf(late)
        late[alarm] = batch - 199
    assert (late > 0).mean() >= 0.99
    assert (late <= 15).mean() >= 0.95


def test_a_share_at_its_limit_raises_at_most_alpha_false_alarms() -> None:
    random = np.random.default_rng(5)
    wealth = begin(len(ODDS), (ROLLOUTS,))
    highest = np.zeros(ROLLOUTS)
    for _ in range(500):
        batch = counts(np.full(ROLLOUTS, 20), random.binomial(20, 0.01, ROLLOUTS))
        wealth = bet(wealth, above_limit(batch, 0.01))
        highest = np.maximum(highest, log_e_value(wealth))
    assert within(highest)


@pytest.mark.parametrize("scatter", [0.02, 1.0])
def test_a_shift_that_is_allowed_raises_at_most_alpha_false_alarms(
    scatter: float,
) -> None:
    assert within(shifted(0.01, scatter, allowed=0.01))
    assert within(shifted(-0.01, scatter, allowed=0.01))


def test_a_shift_of_twice_what_is_allowed_is_caught_within_10_000_requests() -> None:
    for mean in (0.02, -0.02):
        assert (shifted(mean, 0.02, allowed=0.01) >= np.log(100)).mean() >= 0.95


def shifted(mean: float, scatter: float, *, allowed: float) -> Floats:
    """The highest evidence of each of many rollouts with differences within [-1, 1]."""
    random = np.random.default_rng(6)
    wealth = begin(2 * len(STAKES), (ROLLOUTS,))
    highest = np.zeros(ROLLOUTS)
    for _ in range(100):
        # Two points around the mean: the widest scatter that the bound allows.
        high = min(mean + scatter, 1.0)
        low = max(mean - scatter, -1.0)
        ups = random.binomial(100, (mean - low) / (high - low), ROLLOUTS)
        total = ups * high + (100 - ups) * low
        squares = ups * high**2 + (100 - ups) * low**2
        batch = differences(np.full(ROLLOUTS, 100), total, squares)
        wealth = bet(wealth, beyond(batch, allowed, 1.0))
        highest = np.maximum(highest, log_e_value(wealth))
    return highest
