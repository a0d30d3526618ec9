"""Aliases: compare-and-swap, history, and the model's document on the change stream."""

import msgspec
import pytest

from protocol.configuration import ModelDoc
from protocol.errors import Code, TollwayError
from registry.aliases import alias_etag
from registry.conditions import ABSENT, ANY
from registry.store import changes
from tests.registry.conftest import Bench, Crowd


@pytest.fixture
def published(bench: Bench) -> Bench:
    """Three published versions of ``credit``."""
    for _ in range(3):
        bench.to_state(bench.publish(), "published")
    return bench


def announced(bench: Bench) -> dict[str, int]:
    with bench.registry.database.read() as connection:
        page = changes.read(connection, "", 0)
    newest = [change for change in page.changes if change.kind == "model"][-1]
    assert newest.doc is not None
    return msgspec.json.decode(newest.doc, type=ModelDoc).aliases


def test_an_alias_moves_only_from_where_it_was_expected(published: Bench) -> None:
    aliases = published.registry.aliases
    first, created = aliases.set("credit", "champion", 1, actor="ann", expected=ABSENT)
    assert created
    second, created = aliases.set("credit", "champion", 2, actor="bob", expected=alias_etag(first))
    assert not created
    for stale in (ABSENT, alias_etag(first), "r0"):
        with pytest.raises(TollwayError, match="points at version 2") as refused:
            aliases.set("credit", "champion", 3, actor="cid", expected=stale)
        assert refused.value.code is Code.PRECONDITION_FAILED
    assert aliases.get("credit", "champion") == second
    assert announced(published) == {"champion": 2}


def test_one_of_many_who_expect_the_same_state_moves_the_alias(
    published: Bench, crowd: Crowd
) -> None:
    aliases = published.registry.aliases
    first, _ = aliases.set("credit", "stable", 1, actor="ann", expected=None)

    def move(index: int) -> object:
        target = 2 + index % 2
        return aliases.set(
            "credit", "stable", target, actor=f"p{index}", expected=alias_etag(first)
        )[0].version

    results = crowd(6, move)
    won = [result for result in results if isinstance(result, int)]
    assert len(won) == 1
    lost = [result for result in results if not isinstance(result, int)]
    assert {error.code for error in lost} == {Code.PRECONDITION_FAILED}
    assert announced(published) == {"stable": won[0]}
    assert len(aliases.history("credit", "stable", 0, 10)) == 2


def test_one_of_many_who_make_the_alias_makes_it(published: Bench, crowd: Crowd) -> None:
    def make(index: int) -> object:
        return published.registry.aliases.set(
            "credit", "stable", 1, actor=f"p{index}", expected=ABSENT
        )[1]

    results = crowd(5, make)
    assert results.count(True) == 1
    assert {r.code for r in results if r is not True} == {Code.PRECONDITION_FAILED}


def test_the_announced_document_has_every_alias_however_many_move_at_once(
    published: Bench, crowd: Crowd
) -> None:
    def make(index: int) -> object:
        return published.registry.aliases.set(
            "credit", f"a{index}", 1 + index % 3, actor="ann", expected=None
        )

    crowd(8, make)
    assert announced(published) == {f"a{index}": 1 + index % 3 for index in range(8)}
    assert published.registry.models.get("credit").aliases == announced(published)


def test_which_version_an_alias_had_when_can_be_answered(published: Bench) -> None:
    aliases, clock = published.registry.aliases, published.clock
    start = clock.now
    for version, actor in ((1, "ann"), (3, "bob"), (2, "cid")):
        aliases.set("credit", "stable", version, actor=actor, expected=None)
        clock.advance(60)
    aliases.delete("credit", "stable", actor="dan", expected=ANY)
    moves = aliases.history("credit", "stable", 0, 10)
    assert [(m.version, m.previous, m.actor, (m.at - start) // 1000) for m in moves] == [
        (1, None, "ann", 0),
        (3, 1, "bob", 60),
        (2, 3, "cid", 120),
        (None, 2, "dan", 180),
    ]
    assert aliases.history("credit", "stable", moves[1].id, 1) == [moves[2]]
    assert announced(published) == {}


def test_an_alias_made_anew_has_a_tag_that_no_earlier_one_had(published: Bench) -> None:
    aliases = published.registry.aliases
    first, _ = aliases.set("credit", "stable", 1, actor="ann", expected=None)
    aliases.delete("credit", "stable", actor="ann", expected=alias_etag(first))
    second, _ = aliases.set("credit", "stable", 1, actor="ann", expected=ABSENT)
    assert alias_etag(second) != alias_etag(first)


def test_pointing_where_it_points_already_is_no_move(published: Bench) -> None:
    aliases = published.registry.aliases
    first, _ = aliases.set("credit", "stable", 1, actor="ann", expected=None)
    assert aliases.set("credit", "stable", 1, actor="bob", expected=None) == (first, False)
    assert len(aliases.history("credit", "stable", 0, 10)) == 1


def test_only_a_version_that_may_be_called_gets_an_alias(published: Bench) -> None:
    aliases = published.registry.aliases
    published.publish()
    for version, code in ((4, Code.CONFLICT), (9, Code.VERSION_NOT_FOUND)):
        with pytest.raises(TollwayError) as refused:
            aliases.set("credit", "stable", version, actor="ann", expected=None)
        assert refused.value.code is code
    published.registry.lifecycle.set_loaded("credit", 3, False)
    with pytest.raises(TollwayError, match="not loaded"):
        aliases.set("credit", "stable", 3, actor="ann", expected=None)
    published.registry.lifecycle.transition("credit", 2, "deprecated", actor="ann")
    assert aliases.set("credit", "stable", 2, actor="ann", expected=None)[1]


def test_an_alias_and_a_retirement_at_once_never_leave_it_on_a_retired_version(
    bench: Bench, crowd: Crowd
) -> None:
    bench.to_state(bench.publish(), "deprecated")

    def work(index: int) -> object:
        if index == 0:
            return bench.registry.lifecycle.transition("credit", 1, "retired", actor="ann")
        return bench.registry.aliases.set("credit", "stable", 1, actor="bob", expected=None)

    crowd(2, work)
    retired = bench.registry.versions.get("credit", 1).state == "retired"
    assert retired == (bench.registry.aliases.find("credit", "stable") is None)


def test_what_workers_and_gateways_do_with_an_idle_model_travels_in_its_document(
    small_bench: Bench,
) -> None:
    registry = small_bench.registry
    registry.models.put("credit", idle_unload_s=60)
    registry.models.put("credit", cold_start_wait_s=5)
    with registry.database.read() as connection:
        page = changes.read(connection, "", 0)
    newest = [change for change in page.changes if change.kind == "model"][-1]
    assert newest.doc is not None
    document = msgspec.json.decode(newest.doc, type=ModelDoc)
    assert (document.idle_unload_s, document.cold_start_wait_s) == (60, 5)
