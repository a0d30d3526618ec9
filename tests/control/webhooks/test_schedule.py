"""Failed deliveries are tried for about a day."""

from hypothesis import given
from hypothesis import strategies as st

from control.webhooks.schedule import JITTER, WAITS_S, next_wait_s

UNIT = st.floats(0, 1, exclude_max=True)


def test_eleven_attempts_are_made_within_about_24_hours() -> None:
    assert len(WAITS_S) == 10
    assert 23 * 3600 <= sum(WAITS_S) <= 25 * 3600
    assert list(WAITS_S) == sorted(WAITS_S)


@given(st.integers(1, len(WAITS_S)), UNIT)
def test_a_wait_is_the_schedules_with_a_little_jitter(failures: int, random: float) -> None:
    wait = next_wait_s(failures, lambda: random)

    assert wait is not None
    assert abs(wait - WAITS_S[failures - 1]) <= JITTER * WAITS_S[failures - 1] + 1e-6


@given(st.integers(len(WAITS_S) + 1, 1000), UNIT)
def test_after_the_last_attempt_there_is_none(failures: int, random: float) -> None:
    assert next_wait_s(failures, lambda: random, 5.0) is None


@given(st.floats(0, 1e9), UNIT)
def test_a_receivers_wish_to_wait_is_honoured_up_to_an_hour(wish: float, random: float) -> None:
    wait = next_wait_s(1, lambda: random, wish)

    assert wait is not None
    assert min(wish, 3600) <= wait <= max(3600, WAITS_S[0] * 1.1)
