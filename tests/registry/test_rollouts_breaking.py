"""What would break callers gets no traffic without a reason."""

import pytest

from protocol.configuration import ShadowDoc
from protocol.errors import Code, TollwayError
from tests.registry import models_onnx
from tests.registry.conftest import Bench
from tests.registry.rollouts import audited, canary, put, three

WIDER = models_onnx.linear(4).SerializeToString()
"""Takes four features where the others take three."""


@pytest.fixture
def small(small_bench: Bench) -> Bench:
    """The same on SQLite alone."""
    return three(small_bench)


# What breaks callers.


@pytest.fixture
def breaking(small: Bench) -> Bench:
    """Version 4 takes another shape."""
    small.to_state(small.publish(data=WIDER), "published")
    return small


def test_nothing_moves_to_a_version_that_breaks_callers_unless_forced_with_a_reason(
    breaking: Bench,
) -> None:
    aliases = breaking.registry.aliases
    for wish in ({"stable": 4}, {"canary": canary(4, 1)}):
        with pytest.raises(TollwayError, match="input 'input' has shape") as refused:
            put(breaking, **wish)
        assert refused.value.code is Code.INCOMPATIBLE
    with pytest.raises(TollwayError) as refused:
        aliases.set("credit", "champion", 4, actor="ann", expected=None)
    assert refused.value.code is Code.INCOMPATIBLE
    with pytest.raises(TollwayError, match="force needs a reason"):
        put(breaking, stable=4, force=True, reason=" ")
    with pytest.raises(TollwayError, match="force needs a reason"):
        aliases.set("credit", "champion", 4, actor="ann", expected=None, force=True)
    assert put(breaking, stable=4, force=True, reason="agreed with all").stable == 4
    entry = next(e for e in reversed(audited(breaking)) if e["kind"] == "alias")
    assert entry["reason"] == "agreed with all"
    assert entry["after"]["forced"] == ["input 'input' has shape [-1, 4], had [-1, 3]"]


def test_a_canary_breaks_nobody_before_it_has_a_share(breaking: Bench) -> None:
    put(breaking, canary=canary(4, 0))
    with pytest.raises(TollwayError) as refused:
        put(breaking, canary=canary(4, 1))
    assert refused.value.code is Code.INCOMPATIBLE
    put(breaking, canary=canary(4, 1), force=True, reason="a test consumer")
    raised = put(breaking, canary=canary(4, 2))
    assert raised.canary is not None
    assert raised.canary.permille == 2


def test_stable_does_not_move_beside_a_canary_that_then_breaks_its_callers(
    breaking: Bench,
) -> None:
    put(breaking, canary=canary(2, 10))
    with pytest.raises(TollwayError) as refused:
        breaking.registry.aliases.set("credit", "stable", 4, actor="ann", expected=None)
    assert refused.value.code is Code.INCOMPATIBLE
    both = put(breaking, stable=4, canary=None, force=True, reason="agreed")
    assert (both.stable, both.canary) == (4, None)


def test_a_label_is_compared_with_where_it_points(breaking: Bench) -> None:
    aliases = breaking.registry.aliases
    aliases.set("credit", "old", 1, actor="ann", expected=None)
    put(breaking, stable=4, force=True, reason="agreed")
    assert aliases.set("credit", "old", 2, actor="ann", expected=None)[0].version == 2
    with pytest.raises(TollwayError) as refused:
        aliases.set("credit", "old", 4, actor="ann", expected=None)
    assert refused.value.code is Code.INCOMPATIBLE


def test_going_back_needs_no_force(breaking: Bench) -> None:
    put(breaking, stable=4, force=True, reason="agreed")
    assert breaking.registry.rollouts.roll_back("credit", actor="ann").stable == 1


def test_a_shadow_may_break_callers_because_it_answers_none(breaking: Bench) -> None:
    assert put(breaking, shadows=(ShadowDoc(version=4),)).shadows == (ShadowDoc(version=4),)
