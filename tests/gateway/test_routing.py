"""Which version answers, and what a change of route does to calls under way."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.app import Gateway
from gateway.catalog import Catalog
from gateway.connection import Exchange, VersionKey
from gateway.pins import Pins
from gateway.routing import KEPT_BUCKETS, Routing
from gateway.seals import Seals
from policies.base import Call, Identity
from policies.lifecycle import LifecyclePolicy
from protocol.buckets import bucket
from protocol.configuration import CanaryDoc, ModelDoc, PinDoc, VersionState
from protocol.errors import Code, TollwayError
from tests.fixtures.seals import KEYS
from tests.gateway.conftest import until
from tests.gateway.documents import World, digest, version, worker
from tests.gateway.fake_engine import FakeEngine


class Engines:
    """Answers for the versions that it is told to."""

    def __init__(self) -> None:
        self.ready = {1, 2, 3}
        self.sent: list[VersionKey] = []

    def is_ready(self, key: VersionKey, /) -> bool:
        return key[1] in self.ready

    def send(self, key: VersionKey, _exchange: Exchange, /) -> None:
        if not self.is_ready(key):
            raise TollwayError(Code.NOT_READY, "no engine")
        self.sent.append(key)


class Rig:
    """A model ``iris`` with versions 1, 2, 3 (published) and 4 (retired); 1 is stable."""

    def __init__(self) -> None:
        self.engines = Engines()
        self.pins = Pins()
        self.catalog = Catalog(
            {"pin": self.pins},
            lambda _: None,
            lambda _: None,
            Seals(KEYS, Path("unused")),
            is_ready=self.engines.is_ready,
        )
        self.routing = Routing(self.catalog, self.pins, self.engines)
        states: dict[int, VersionState] = {
            1: "published", 2: "published", 3: "deprecated", 4: "retired",
        }  # fmt: skip
        for number, state in states.items():
            self.put("version", f"iris/{number}", version("iris", number, state))
        self.model(stable=1)

    def put(self, kind: str, key: str, document: Any) -> None:
        self.catalog.apply([(kind, key, document)], False)

    def model(self, canary: CanaryDoc | None = None, **aliases: int) -> None:
        self.put("model", "iris", ModelDoc(name="iris", aliases=aliases, canary=canary))

    def pin(self, number: int) -> None:
        pin = PinDoc(application="shop", model="iris", version=number)
        self.put("pin", "shop/iris", pin)

    def routed(self, **call: Any) -> tuple[int, str]:
        """The version and variant of a call of ``shop``."""
        made = self.call(**call)
        return made.version, made.variant

    def call(self, application: str = "shop", **fields: Any) -> Call:
        identity = Identity(key="k", application=application)
        made = Call(model="iris", **{"identity": identity, **fields})
        self.routing.choose(made)
        return made


def canary(permille: int, number: int = 2) -> CanaryDoc:
    return CanaryDoc(version=number, permille=permille)


WHOLE = canary(1000)


def test_the_first_match_in_the_contracts_order_answers() -> None:
    rig = Rig()
    rig.model(canary=WHOLE, stable=1, old=3)
    rig.pin(3)
    named = {"number": 1, "label": None, "header_number": 2}
    assert rig.routed(**named) == (1, "pinned")
    assert rig.routed(label="old", header_number=2) == (3, "pinned")
    assert rig.routed(header_number=2) == (2, "pinned")
    assert rig.routed() == (3, "pinned")
    rig.put("pin", "shop/iris", None)
    assert rig.routed() == (2, "canary")
    rig.model(stable=1)
    assert rig.routed() == (1, "stable")


def test_a_management_token_and_nobody_take_the_stable_version() -> None:
    rig = Rig()
    rig.model(canary=WHOLE, stable=1)
    token = Identity(key="t", application="", role="admin")
    assert rig.routed(identity=token) == (1, "stable")
    assert rig.routed(identity=None) == (1, "stable")


@given(st.integers(0, 1000), st.from_regex(r"[a-z]{1,12}", fullmatch=True))
def test_the_canary_answers_the_applications_whose_bucket_is_below_its_share(
    permille: int, application: str
) -> None:
    rig = Rig()
    rig.model(canary=canary(permille), stable=1)
    expected = (2, "canary") if bucket("iris", application) < permille else (1, "stable")
    assert rig.routed(application=application) == expected
    assert rig.routed(application=application) == expected, "remembered"


def test_what_is_remembered_of_applications_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEPT_BUCKETS < 1_000_000
    monkeypatch.setattr("gateway.routing.KEPT_BUCKETS", 3)
    rig = Rig()
    rig.model(canary=canary(500), stable=1)
    before = [rig.routed(application=f"a{n}") for n in range(10)]
    assert [rig.routed(application=f"a{n}") for n in range(10)] == before
    assert len(rig.routing._buckets) <= 3


def test_a_canary_that_does_not_answer_here_leaves_its_calls_to_stable_and_is_logged_once() -> None:
    rig = Rig()
    rig.model(canary=WHOLE, stable=1)
    rig.engines.ready = {1}
    with capture_logs() as logs:
        assert [rig.routed() for _ in range(3)] == [(1, "stable")] * 3
    assert rig.routing.fallbacks == 3
    assert [(log["model"], log["version"]) for log in logs] == [("iris", 2)]
    rig.engines.ready = {1, 2}
    assert rig.routed() == (2, "canary")
    rig.engines.ready = {1}
    with capture_logs() as logs:
        rig.routed()
    assert len(logs) == 1


def test_a_canary_that_may_not_be_called_any_more_leaves_its_calls_to_stable() -> None:
    rig = Rig()
    rig.model(canary=canary(1000, 4), stable=1)
    rig.engines.ready.add(4)
    assert rig.routed() == (1, "stable")
    rig.model(canary=canary(1000, 9), stable=1)
    assert rig.routed() == (1, "stable")


def test_a_pin_to_a_version_that_is_gone_says_whose_it_is_and_what_to_do() -> None:
    rig = Rig()
    rig.pin(4)
    call = rig.call()
    with pytest.raises(TollwayError, match="application 'shop' is pinned to: pin another") as gone:
        LifecyclePolicy().check(call)
    assert gone.value.code is Code.GONE
    rig.pin(9)
    with pytest.raises(TollwayError, match="no version 9, which application 'shop' is pinned"):
        rig.call()


def test_a_version_that_is_named_and_gone_is_not_blamed_on_a_pin() -> None:
    rig = Rig()
    rig.pin(4)
    for named in ({"number": 4}, {"header_number": 4}):
        with pytest.raises(TollwayError) as gone:
            LifecyclePolicy().check(rig.call(**named))
        assert "pin" not in gone.value.public


# A change of route.


def test_calls_are_answered_as_before_until_the_new_version_answers_here() -> None:
    rig = Rig()
    rig.model(stable=1, old=3)
    rig.engines.ready = {1, 3}
    rig.model(stable=2, old=2)
    assert rig.routed() == (1, "stable")
    assert rig.routed(label="old") == (3, "pinned")
    assert rig.routing.fallbacks == 2
    rig.engines.ready = {1, 2, 3}
    assert rig.routed() == (2, "stable")
    assert rig.routed(label="old") == (2, "pinned")


def test_a_version_that_has_answered_here_once_is_not_left_again() -> None:
    rig = Rig()
    rig.model(stable=2)
    rig.engines.ready = {1}
    assert rig.routed() == (2, "stable")
    rig = Rig()
    rig.engines.ready = {1}
    rig.model(stable=2)
    rig.engines.ready = {1, 2}
    assert rig.routed() == (2, "stable")
    rig.engines.ready = {1}
    assert rig.routed() == (2, "stable")


def test_of_several_moves_the_newest_version_that_answers_here_is_taken() -> None:
    rig = Rig()
    rig.engines.ready = {1}
    rig.model(stable=2)
    rig.model(stable=3)
    assert rig.routed() == (1, "stable")
    rig.engines.ready = {1, 2}
    assert rig.routed() == (2, "stable")
    rig.engines.ready = {1, 2, 3}
    assert rig.routed() == (3, "stable")


def test_where_nothing_answers_the_version_meant_is_named() -> None:
    rig = Rig()
    rig.engines.ready = set()
    rig.model(stable=2)
    assert rig.routed() == (2, "stable")


def test_a_move_that_a_gateway_learns_of_with_everything_else_anew_is_a_move_too() -> None:
    rig = Rig()
    rig.engines.ready = {1}
    documents: list[tuple[str, str, Any]] = [
        ("version", f"iris/{n}", version("iris", n)) for n in (1, 2)
    ]
    model = ModelDoc(name="iris", aliases={"stable": 2})
    rig.catalog.apply([*documents, ("model", "iris", model)], True)
    assert rig.routed() == (1, "stable")


def test_a_removed_label_is_held_by_nothing() -> None:
    rig = Rig()
    rig.model(stable=1, old=1)
    rig.engines.ready = {1}
    rig.model(stable=1, old=2)
    rig.model(stable=1)
    with pytest.raises(TollwayError, match="label 'old'"):
        rig.call(label="old")


def test_a_call_whose_version_was_unloaded_before_its_body_came_goes_where_calls_go_now() -> None:
    rig = Rig()
    call = rig.call()
    rig.model(stable=2)
    rig.engines.ready = {2}
    rig.routing.send(call, exchange())
    assert (call.version, call.variant) == (2, "stable")
    assert rig.engines.sent == [("iris", 2)]


def test_a_call_whose_version_is_there_still_is_answered_by_it() -> None:
    rig = Rig()
    call = rig.call()
    rig.model(stable=2)
    rig.routing.send(call, exchange())
    assert call.version == 1
    assert rig.engines.sent == [("iris", 1)]


def test_a_call_that_names_its_version_goes_nowhere_else() -> None:
    rig = Rig()
    for named in ({"number": 1}, {"header_number": 1}):
        rig.engines.ready = {1, 2}
        call = rig.call(**named)
        rig.engines.ready = {2}
        with pytest.raises(TollwayError) as refused:
            rig.routing.send(call, exchange())
        assert refused.value.code is Code.NOT_READY
        assert call.version == 1


def test_a_call_is_refused_by_the_version_that_was_meant_where_none_is_left() -> None:
    rig = Rig()
    call = rig.call()
    rig.engines.ready = set()
    with pytest.raises(TollwayError):
        rig.routing.send(call, exchange())
    assert (call.version, call.variant) == (1, "stable")


def exchange() -> Exchange:
    return Exchange(b"", 0.0, lambda _: None)


# Through a whole gateway.


async def test_a_pinned_application_and_a_canary_are_answered_and_recorded_as_such(
    client: httpx.AsyncClient, gateway: Gateway, world: World, run_dir: Path, engine: FakeEngine
) -> None:
    other = FakeEngine(run_dir / "e2.sock", "iris", 1, digest("iris", 1))
    await other.start()
    gateway.catalog.apply([worker((2, engine.path), (1, other.path))], False)
    await until(lambda: gateway.upstream.is_ready(("iris", 1)))
    model = ModelDoc(name="iris", aliases={"stable": 2}, canary=canary(1000, 1))
    gateway.catalog.apply([("model", "iris", model)], False)

    by_canary = await client.post("/v2/models/iris/infer", content=b"{}")
    token = {"x-api-key": world.admin}
    by_token = await client.post("/v2/models/iris/infer", content=b"{}", headers=token)
    pin = PinDoc(application="shop", model="iris", version=2)
    gateway.catalog.apply([("pin", "shop/iris", pin)], False)
    pinned = await client.post("/v2/models/iris/infer", content=b"{}")

    told = [
        (answer.headers["Tollway-Version"], answer.headers["Tollway-Variant"])
        for answer in (by_canary, by_token, pinned)
    ]
    assert told == [("1", "canary"), ("2", "stable"), ("2", "pinned")]
    assert [len(one.frames) for one in (other, engine)] == [1, 2]
    await other.kill()


async def test_a_gateway_is_ready_while_it_answers_as_before_a_move(
    client: httpx.AsyncClient, gateway: Gateway
) -> None:
    """Version 1 has no engine yet that this gateway has reached."""
    moved = ModelDoc(name="iris", aliases={"stable": 1})
    gateway.catalog.apply([("model", "iris", moved)], False)
    answer = await client.post("/v2/models/iris/infer", content=b"{}")
    assert (answer.status_code, answer.headers["Tollway-Version"]) == (200, "2")
    assert (await client.get("/v2/health/ready")).status_code == 200
    shown = await client.get("/v2/models/iris/ready")
    assert (shown.status_code, shown.json()["version"]) == (200, "2")
    assert gateway.routing.fallbacks > 0
