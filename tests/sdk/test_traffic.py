"""Promote, roll back, deprecate, retire: which version gets the traffic."""

import httpx
import pytest

import tollway
from tests.sdk.fake_server import FakeServer
from tollway.rollouts import Canary, Shadow


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
    assert client.rollback("m", "it is biased").number == 2
    assert client.rollback("m").number == 1
    with pytest.raises(tollway.ConflictError, match="no version to go back to"):
        client.rollback("m")
    assert server.reasons == ["it is biased", "", ""]


def test_a_rollback_whose_answer_was_lost_is_not_sent_again(
    client: tollway.Client, server: FakeServer
) -> None:
    """A second one would go back two versions."""
    for number in (1, 2, 3):
        server.add_version("m", {})
        server.move("m", "stable", number)

    def lost(request: httpx.Request) -> httpx.Response:
        server.handle(request)
        raise httpx.ReadError("the connection broke")

    server.faults.append(("POST", r"/api/v1/models/m/rollback", lost))
    with pytest.raises(tollway.TollwayError):
        client.rollback("m")
    assert client.model("m").stable == 2


def test_a_canary_begins_grows_and_ends(client: tollway.Client, server: FakeServer) -> None:
    for _ in range(2):
        server.add_version("m", {})
    server.move("m", "stable", 1)
    begun = client.canary("m", 2, 2.5, reason="a try")
    assert (begun.stable, begun.canary) == (1, Canary(version=2, percent=2.5))
    assert client.rollout("m") == begun
    assert client.end_canary("m", "enough").canary is None
    assert server.reasons == ["a try", "enough"]


def test_shadows_are_added_and_taken_away_one_by_one(
    client: tollway.Client, server: FakeServer
) -> None:
    for _ in range(3):
        server.add_version("m", {})
    server.move("m", "stable", 1)
    client.shadow("m", 2)
    both = client.shadow("m", 3, 10)
    assert both.shadow == (Shadow(version=2), Shadow(version=3, percent=10))
    assert client.shadow("m", 2, 50).shadow == (both.shadow[1], Shadow(version=2, percent=50))
    assert client.end_shadow("m", 3).shadow == (Shadow(version=2, percent=50),)
    assert client.end_shadow("m").shadow == ()


def test_pins_are_set_listed_and_removed(client: tollway.Client, server: FakeServer) -> None:
    server.add_version("m", {})
    pin = client.pin("shop", "m", 1, "tested")
    assert (pin.version, pin.reason) == (1, "tested")
    assert client.pins(application="shop") == client.pins(model="m") == [pin]
    with pytest.raises(tollway.InvalidRequestError, match="one of the two"):
        client.pins()
    client.unpin("shop", "m")
    assert client.pins(model="m") == []


@pytest.mark.parametrize(
    ("use", "words"),
    [("canary", "it is the canary"), ("shadow", "it is a shadow"), ("pin", "'shop' is pinned")],
)
def test_a_version_that_calls_go_to_is_neither_retired_nor_deprecated(
    client: tollway.Client, server: FakeServer, use: str, words: str
) -> None:
    for _ in range(2):
        server.add_version("m", {})
    server.move("m", "stable", 1)
    match use:
        case "canary":
            client.canary("m", 2, 1)
        case "shadow":
            client.shadow("m", 2)
        case _:
            client.pin("shop", "m", 2)
    with pytest.raises(tollway.ConflictError, match=words):
        client.retire("m", 2)
    assert client.version("m", 2).state == "published"


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
