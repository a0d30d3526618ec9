"""Promote, roll back, deprecate, retire: which version gets the traffic."""

import pytest

import tollway
from tests.sdk.fake_server import FakeServer
from tollway.registry import previous_stable
from tollway.resources import AliasMove


def _moves(*versions: int) -> list[AliasMove]:
    return [AliasMove(version=number) for number in versions]


@pytest.mark.parametrize(
    ("moves", "present", "target"),
    [
        ((1, 2, 3), 3, 2),
        ((1, 2, 3, 2), 2, 1),  # going back twice goes back two versions
        ((1, 2, 1, 3), 3, 1),  # back to what was stable then, not to the one that failed
        ((1, 2, 1), 1, None),
        ((1,), 1, None),
        ((1, 2, 3, 4), 4, 2),  # 3 is retired
    ],
)
def test_a_rollback_goes_to_what_was_stable_before_the_present_version_came(
    moves: tuple[int, ...], present: int, target: int | None
) -> None:
    usable = {1, 2, 4} if present == 4 else {1, 2, 3}
    assert previous_stable(_moves(*moves), present, usable) == target


def test_promoting_a_staged_version_publishes_it_and_moves_the_traffic(
    client: tollway.Client, server: FakeServer
) -> None:
    server.add_version("m", {})
    server.move("m", "stable", 1)
    server.add_version("m", {}, state="validated")
    assert client.promote("m", 2).state == "published"
    assert client.model("m").stable == 2


def test_promoting_loads_a_version_that_was_unloaded(
    client: tollway.Client, server: FakeServer
) -> None:
    server.add_version("m", {})
    client.unload("m", 1)
    assert client.promote("m", 1).loaded


def test_two_who_move_an_alias_at_once_do_not_overwrite_each_other(
    client: tollway.Client, server: FakeServer
) -> None:
    for _ in range(3):
        server.add_version("m", {})
    server.move("m", "stable", 1)

    def other_is_faster(_request: object) -> object:
        server.move("m", "stable", 3)
        return server.handle(_request)  # type: ignore[arg-type]

    server.fail("PUT", ".*/aliases/stable", other_is_faster)  # type: ignore[arg-type]
    with pytest.raises(tollway.ConflictError, match="somebody else moved it"):
        client.promote("m", 2)
    assert client.model("m").stable == 3


def test_a_move_whose_answer_was_lost_is_no_conflict(
    client: tollway.Client, server: FakeServer
) -> None:
    server.add_version("m", {})
    server.add_version("m", {})
    server.move("m", "stable", 1)
    server.lose_answer("PUT", ".*/aliases/stable")
    client.promote("m", 2)
    assert client.model("m").stable == 2


def test_promoting_with_an_expectation_refuses_another_state(
    client: tollway.Client, server: FakeServer
) -> None:
    server.add_version("m", {})
    server.add_version("m", {})
    server.move("m", "stable", 1)
    with pytest.raises(tollway.ConflictError, match="points to version 1, not to 2"):
        client.promote("m", 1, expected=2)


def test_a_new_label_is_made_by_promoting(client: tollway.Client, server: FakeServer) -> None:
    server.add_version("m", {})
    client.promote("m", 1, alias="champion")
    assert client.model("m").aliases == {"champion": 1}


def test_rolling_back_and_back_again(client: tollway.Client, server: FakeServer) -> None:
    for number in (1, 2, 3):
        server.add_version("m", {})
        server.move("m", "stable", number)
    assert client.rollback("m").number == 2
    assert client.rollback("m").number == 1
    with pytest.raises(tollway.ConflictError, match="no version before 1"):
        client.rollback("m")


def test_retiring_deprecates_on_the_way_and_rejects_what_was_never_published(
    client: tollway.Client, server: FakeServer
) -> None:
    server.add_version("m", {}, state="published")
    server.add_version("m", {}, state="validated")
    assert client.retire("m", 1).state == "retired"
    assert client.retire("m", 2).state == "rejected"


def test_a_version_that_cannot_be_retired_is_not_deprecated_either(
    client: tollway.Client, server: FakeServer
) -> None:
    server.add_version("m", {})
    server.move("m", "stable", 1)
    with pytest.raises(tollway.ConflictError, match="while alias 'stable' points at it"):
        client.retire("m", 1)
    assert client.version("m", 1).state == "published"


def test_listings_follow_every_page(client: tollway.Client, server: FakeServer) -> None:
    for name in ("a", "b", "c", "d", "e"):
        server.add_version(name, {})
    assert [model.name for model in client.models()] == ["a", "b", "c", "d", "e"]


def test_a_model_is_let_go_of_while_nobody_calls_it(
    client: tollway.Client, server: FakeServer
) -> None:
    server.add_version("m", {})
    changed = client.unload_when_idle("m", 900, cold_start_wait_s=20)
    assert (changed.idle_unload_s, changed.cold_start_wait_s) == (900, 20)
    assert client.unload_when_idle("m", 0).cold_start_wait_s == 20
    with pytest.raises(tollway.NotFoundError):
        client.unload_when_idle("other", 900)
    assert "other" not in server.models
