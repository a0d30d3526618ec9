"""What is built for good is not walked by the collector, which runs on afterwards as before."""

import gc
from collections.abc import Iterator

import pytest

from runtime.memory import building_for_good


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_objects_that_are_built_leave_the_collectors_sight() -> None:
    before = gc.get_freeze_count()
    with building_for_good():
        assert not gc.isenabled()
        built: list[list[object]] = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(built)


def test_the_collector_runs_again_after_a_failure_and_stays_off_where_it_was_off() -> None:
    with pytest.raises(ValueError, match="broken"), building_for_good():
        raise ValueError("broken")
    assert gc.isenabled()
    gc.disable()
    try:
        with building_for_good():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
