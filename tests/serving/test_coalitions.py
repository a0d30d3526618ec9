"""Which coalitions are asked about, and the properties that Shapley values have."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.coalitions import Enumeration, Permutations, Plan, planned, planned_size

Game = Callable[[Any], Any]
"""Answers to coalitions ``[coalition, column]``, as ``[coalition, value]``."""

counts = st.integers(1, 6)
seeds = st.integers(0, 1 << 50)


def named(count: int) -> list[str]:
    return [f"column {place}" for place in range(count)]


def game_of(count: int, seed: int, values: int = 2) -> Game:
    """A game in which anything may happen: a table of all coalitions."""
    table = np.random.default_rng(seed).normal(size=(2**count, values))
    return lambda masks: table[masks.astype(np.int64) @ (1 << np.arange(count))]


def shares(plan: Plan, count: int, game: Game) -> Any:
    """The plan's contributions."""
    empty, full = game(np.zeros((1, count), bool))[0], game(np.ones((1, count), bool))[0]
    return plan.contributions(empty, full, game(plan.masks(0, plan.size)))


def by_definition(count: int, game: Game) -> Any:
    """Shapley's formula, by all orders of the columns."""
    total: Any = 0
    for order in itertools.permutations(range(count)):
        mask = np.zeros(count, bool)
        gained = np.empty((count, game(mask[None]).shape[1]))
        for column in order:
            before = game(mask[None])[0]
            mask[column] = True
            gained[column] = game(mask[None])[0] - before
        total = total + gained
    return total / math.factorial(count)


@given(st.integers(1, 4), seeds)
def test_all_coalitions_give_what_the_definition_gives(count: int, seed: int) -> None:
    game = game_of(count, seed)
    found = shares(Enumeration(count), count, game)
    assert np.allclose(found, by_definition(count, game))


@given(counts, seeds, st.integers(1, 5))
def test_shares_add_up_whatever_the_plan(count: int, seed: int, permutations: int) -> None:
    game = game_of(count, seed)
    total = (game(np.ones((1, count), bool)) - game(np.zeros((1, count), bool)))[0]
    for plan in (Enumeration(count), Permutations(named(count), permutations, seed)):
        assert np.allclose(shares(plan, count, game).sum(axis=0), total)


@given(st.integers(2, 6), seeds, st.integers(1, 5))
def test_a_column_that_changes_nothing_gets_exactly_nothing(
    count: int, seed: int, permutations: int
) -> None:
    whole = game_of(count, seed)
    dummy = seed % count

    def game(masks: Any) -> Any:
        masks = masks.copy()
        masks[:, dummy] = False
        return whole(masks)

    for plan in (Enumeration(count), Permutations(named(count), permutations, seed)):
        assert not shares(plan, count, game)[dummy].any()


@given(st.integers(2, 6), seeds)
def test_columns_that_do_the_same_get_the_same(count: int, seed: int) -> None:
    sums = np.random.default_rng(seed).normal(size=(count + 1, 1))

    def game(masks: Any) -> Any:  # only how many there are counts
        return sums[masks.sum(axis=1)]

    found = shares(Enumeration(count), count, game)
    assert np.allclose(found, found[0])


@given(counts, seeds, st.integers(1, 4))
def test_the_order_of_the_columns_changes_no_estimate(
    count: int, seed: int, permutations: int
) -> None:
    game = game_of(count, seed)
    order = np.random.default_rng(seed).permutation(count)
    names = named(count)
    turned = [names[place] for place in order]

    def turned_game(masks: Any) -> Any:
        back = np.zeros_like(masks)
        back[:, order] = masks
        return game(back)

    found = shares(Permutations(names, permutations, seed), count, game)
    other = shares(Permutations(turned, permutations, seed), count, turned_game)
    assert np.allclose(other, found[order])


@given(counts, seeds, st.integers(1, 4))
def test_of_a_sum_every_plan_gives_the_parts(count: int, seed: int, permutations: int) -> None:
    parts = np.random.default_rng(seed).normal(size=(count, 3))
    for plan in (Enumeration(count), Permutations(named(count), permutations, seed)):
        assert np.allclose(shares(plan, count, lambda masks: masks @ parts), parts)


@given(st.integers(2, 6), seeds, st.integers(1, 4))
def test_masks_are_prefixes_of_permutations_and_of_their_reverses(
    count: int, seed: int, permutations: int
) -> None:
    plan = Permutations(named(count), permutations, seed)
    masks = plan.masks(0, plan.size).reshape(permutations, 2, count - 1, count)
    assert (masks.sum(axis=3) == np.arange(1, count)).all()
    assert (masks[:, :, 1:] >= masks[:, :, :-1]).all()
    assert (masks[:, 1] == ~masks[:, 0, ::-1]).all()


@given(counts, st.integers(1, 5), seeds, st.data())
def test_a_part_of_the_masks_is_a_part_of_all(
    count: int, permutations: int, seed: int, data: st.DataObject
) -> None:
    plan = planned(named(count), permutations, seed)
    assert plan.size == planned_size(count, permutations)
    first = data.draw(st.integers(0, plan.size))
    stop = data.draw(st.integers(first, plan.size))
    assert (plan.masks(first, stop) == plan.masks(0, plan.size)[first:stop]).all()


def test_estimates_come_closer_with_more_permutations() -> None:
    count = 6
    game = game_of(count, 3)
    exact = by_definition(count, game)

    def error(permutations: int) -> float:
        found = [
            shares(Permutations(named(count), permutations, seed), count, game) - exact
            for seed in range(20)
        ]
        return float(np.sqrt(np.mean(np.square(found))))

    assert error(16) < error(4) * 0.7
    assert error(64) < error(16) * 0.7


def test_few_columns_are_enumerated_and_many_are_not() -> None:
    assert [planned(named(count), 10, 0).exact for count in (1, 2, 5, 6, 7, 40)] == [
        True, True, True, True, False, False,
    ]  # fmt: skip
    assert planned(named(7), 100, 0).exact


@pytest.mark.parametrize("permutations", [1, 3])
def test_all_permutations_are_about_as_likely(permutations: int) -> None:
    firsts = [0] * 4
    for seed in range(400):
        masks = Permutations(named(4), permutations, seed).masks(0, 1)
        firsts[int(masks[0].argmax())] += 1
    assert min(firsts) > 60
