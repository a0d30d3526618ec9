"""Growth of memory is judged from the first million requests on."""

import pytest

from benchmarks.endurance import Stage, judge
from benchmarks.processes import Memory


def stage(millions: int, gateway_mb: float, errors: int = 0) -> Stage:
    memory = [
        Memory(role=role, processes=1, rss_mb=rss_mb, pss_mb=None)
        for role, rss_mb in (("gateway", gateway_mb), ("engine", 70.0), ("control", millions * 50))
    ]
    return Stage(requests=millions * 1_000_000, errors=errors, seconds=60.0, memory=memory)


@pytest.mark.parametrize(("last_mb", "passed"), [(104.9, True), (105.1, False)])
def test_a_role_on_the_path_may_not_grow(last_mb: float, passed: bool) -> None:
    stages = [stage(1, 100.0), stage(2, 90.0), stage(20, last_mb)]
    verdicts = {verdict.target: verdict.passed for verdict in judge(stages)}
    assert verdicts == {
        "engine: no growth from 1,000,000 to 20,000,000 requests": True,
        "gateway: no growth from 1,000,000 to 20,000,000 requests": passed,
        "every request answered": True,
    }


def test_an_error_of_any_round_fails() -> None:
    assert [verdict.passed for verdict in judge([stage(1, 100.0, errors=1), stage(2, 100.0)])] == [
        True,
        True,
        False,
    ]
