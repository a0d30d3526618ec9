"""Properties of the evidence: it is of mean 1 at most, grows with harm, and never overflows."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.evidence import begin, bet, family, log_e_value
from monitoring.proportions import (
    ODDS,
    above_control,
    above_limit,
    counts,
    expected_share,
    upper_bound,
)
from monitoring.shifts import STAKES, beyond, differences

shares = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)
margins = st.sampled_from([0.0, 0.001, 0.05, 0.5])
sizes = st.integers(1, 12)


def binomial(n: int, share: float) -> np.ndarray:
    """The probability of each number of harms among ``n``."""
    return np.array([math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)])


def mean_of(n_c: int, n_s: int, c: float, s: float, expected: float, margin: float) -> float:
    """The exact mean of the largest e-value's mean over alternatives, by summing all outcomes."""
    outcomes = np.array(list(product(range(n_c + 1), range(n_s + 1))))
    weights = binomial(n_c, c)[outcomes[:, 0]] * binomial(n_s, s)[outcomes[:, 1]]
    log_e = above_control(
        counts(np.full(len(outcomes), n_c), outcomes[:, 0]),
        counts(np.full(len(outcomes), n_s), outcomes[:, 1]),
        np.full(len(outcomes), expected),
        margin,
    )
    return float((weights[:, None] * np.exp(log_e)).sum(axis=0).max())


@settings(max_examples=150, deadline=None)
@given(sizes, sizes, shares, shares, shares, margins)
def test_the_mean_of_a_batchs_e_value_is_at_most_1_wherever_the_canary_is_no_worse(
    n_c: int, n_s: int, s: float, better: float, expected: float, margin: float
) -> None:
    c = min(s + margin, 1.0) * better
    assert mean_of(n_c, n_s, c, s, expected, margin) <= 1 + 1e-9


@settings(max_examples=100, deadline=None)
@given(sizes, shares, st.floats(1e-4, 0.9))
def test_the_mean_of_an_e_value_is_at_most_1_wherever_the_share_is_within_its_limit(
    n: int, below: float, limit: float
) -> None:
    harm = np.arange(n + 1)
    weights = binomial(n, limit * below)
    log_e = above_limit(counts(np.full(n + 1, n), harm), limit)
    assert (weights[:, None] * np.exp(log_e)).sum(axis=0).max() <= 1 + 1e-9


@settings(max_examples=100, deadline=None)
@given(st.floats(-1, 1), st.floats(-1, 1), shares, st.floats(0.001, 0.5))
def test_the_mean_of_a_shifts_e_value_is_at_most_1_wherever_it_is_allowed(
    low: float, high: float, weight: float, allowed: float
) -> None:
    mean = weight * high + (1 - weight) * low
    points = np.array([low, high]) - (mean - np.clip(mean, -allowed, allowed))
    points = np.clip(points, -1, 1)
    if abs(weight * points[1] + (1 - weight) * points[0]) > allowed:
        return  # the bound has moved the mean out of what is allowed
    log_e = beyond(differences(np.ones(2), points, points**2), allowed, 1.0)
    assert ((1 - weight) * np.exp(log_e[0]) + weight * np.exp(log_e[1])).max() <= 1 + 1e-9


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 10_000), st.integers(1, 10_000), shares, shares, shares, margins)
def test_evidence_grows_with_the_canarys_harm_and_falls_with_the_controls(
    n_c: int, n_s: int, c: float, s: float, expected: float, margin: float
) -> None:
    x_c, x_s = int(c * (n_c - 1)), int(s * (n_s - 1))

    def evidence(harm: int, control: int) -> np.ndarray:
        return above_control(counts(n_c, harm), counts(n_s, control), np.asarray(expected), margin)

    assert (evidence(x_c + 1, x_s) >= evidence(x_c, x_s) - 1e-9).all()
    assert (evidence(x_c, x_s + 1) <= evidence(x_c, x_s) + 1e-9).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1000), shares), min_size=1, max_size=50))
def test_two_arms_with_the_same_counts_are_never_an_alarm(
    batches: list[tuple[int, float]],
) -> None:
    wealth, seen, harmed = begin(len(ODDS)), 0, 0
    for count, share in batches:
        harm = int(count * share)
        arm = counts(count, harm)
        wealth = bet(wealth, above_control(arm, arm, expected_share(counts(seen, harmed)), 0.0))
        seen, harmed = seen + count, harmed + harm
        assert log_e_value(wealth) <= 1e-9


def test_nothing_seen_is_no_evidence() -> None:
    assert log_e_value(begin(len(ODDS))) == 0
    nothing = counts(0, 0)
    for treated, control in ((nothing, counts(9, 3)), (counts(9, 3), nothing), (nothing, nothing)):
        assert (above_control(treated, control, np.asarray(0.3), 0.01) == 0).all()
    assert log_e_value(bet(begin(len(ODDS)), np.zeros(len(ODDS)))) == pytest.approx(0)


@pytest.mark.parametrize("margin", [0.0, 1e-6, 0.01, 0.5])
@pytest.mark.parametrize("expected", [0.0, 1e-12, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 10**12])
def test_numbers_at_their_ends_stay_numbers(n: int, expected: float, margin: float) -> None:
    arms = [counts(n, 0), counts(n, n), counts(n, n // 2), counts(1, 1), counts(1, 0)]
    for treated, control in product(arms, arms):
        log_e = above_control(treated, control, np.asarray(expected), margin)
        assert np.isfinite(log_e).all()
    for arm in arms:
        assert np.isfinite(above_limit(arm, expected)).all()
    wealth = begin(2 * len(STAKES))
    for _ in range(3):
        wealth = bet(wealth, beyond(differences(n, n, n), 0.0001, 1.0))
        assert np.isfinite(log_e_value(wealth))


def test_a_family_alarms_when_one_of_its_tests_alone_has_its_share() -> None:
    assert family(np.array([np.log(200.0), -np.inf])) == pytest.approx(np.log(100))
    assert family(np.array([np.log(199.0), 0.0])) == pytest.approx(np.log(100))


def test_the_upper_bound_holds_at_every_moment() -> None:
    random = np.random.default_rng(1)
    harm, count, missed = np.zeros(1000), 0, np.zeros(1000, dtype=bool)
    for _ in range(100):
        harm += random.binomial(50, 0.03, 1000)
        count += 50
        missed |= upper_bound(counts(np.full(1000, count), harm), 0.05) < 0.03
    assert missed.mean() <= 0.05
    assert upper_bound(counts(0, 0), 0.05) == 1
    assert upper_bound(counts(10**6, 10**4), 0.001) < 0.0107
