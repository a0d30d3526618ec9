"""The share of applications that a canary answers."""

import subprocess
import sys
from collections import Counter
from math import sqrt

from hypothesis import given
from hypothesis import strategies as st

from protocol.buckets import BUCKETS, bucket

names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,62}", fullmatch=True)
shares = st.integers(0, BUCKETS)


@given(names, names)
def test_an_application_has_one_bucket_for_a_model(model: str, application: str) -> None:
    found = bucket(model, application)
    assert 0 <= found < BUCKETS
    assert bucket(model, application) == found


@given(names, names, shares, shares)
def test_raising_the_share_never_moves_an_application_back(
    model: str, application: str, one: int, other: int
) -> None:
    low, high = sorted((one, other))
    place = bucket(model, application)
    assert not (place < low and place >= high)


@given(names, names)
def test_no_application_is_in_a_share_of_nothing_and_all_are_in_the_whole(
    model: str, application: str
) -> None:
    assert not bucket(model, application) < 0
    assert bucket(model, application) < BUCKETS


def test_buckets_are_uniform() -> None:
    """Chi-square over all buckets, within six of its standard deviations."""
    draws = 200_000
    counts = Counter(bucket("credit", f"app-{n}") for n in range(draws))
    expected = draws / BUCKETS
    chi_square = sum((counts[b] - expected) ** 2 / expected for b in range(BUCKETS))
    assert abs(chi_square - (BUCKETS - 1)) < 6 * sqrt(2 * (BUCKETS - 1))


def test_a_share_is_that_share_of_the_applications_for_every_model() -> None:
    applications = 20_000
    for model in ("credit", "iris", "fraud-eu"):
        for permille in (1, 10, 250, 999):
            got = sum(bucket(model, f"shop-{n}") < permille for n in range(applications))
            share = permille / BUCKETS
            deviation = sqrt(applications * share * (1 - share))
            assert abs(got - applications * share) < 5 * deviation


def test_the_first_of_one_models_canary_are_not_the_first_of_anothers() -> None:
    applications = [f"shop-{n}" for n in range(20_000)]
    first = {a for a in applications if bucket("credit", a) < 100}
    both = sum(bucket("iris", a) < 100 for a in first)
    assert abs(both - len(first) / 10) < 5 * sqrt(len(first) * 0.1 * 0.9)


def test_the_bucket_is_what_it_always_was_and_is_in_every_process() -> None:
    """Another number would move applications between versions at an upgrade."""
    known = {("credit-risk", "web-shop"): 332, ("iris", "shop"): 170, ("m", "a"): 569}
    code = "from protocol.buckets import bucket; print(*(bucket(*k) for k in {}))"
    for seed in ("0", "1"):
        printed = subprocess.run(
            [sys.executable, "-c", code.format(list(known))],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert [int(number) for number in printed.split()] == list(known.values())
