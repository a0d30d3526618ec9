"""Each policy decides by its own data, and forgets at once what was taken back."""

import asyncio

import msgspec
import pytest

from policies.api_key import ApiKeyPolicy
from policies.base import Call, Identity
from policies.chain import Chain
from policies.deadline import PlanDeadlinePolicy
from policies.lifecycle import LifecyclePolicy
from policies.limits import Limits
from policies.plans import Plans
from policies.request_size import RequestSizePolicy
from policies.subscription import SubscriptionPolicy
from protocol.configuration import KeyDoc, PlanDoc, SubscriptionDoc, VersionState
from protocol.errors import Code, TollwayError
from protocol.keys import generate, secret_hash

PEPPER = b"pepper"


def refusal(policy: object, call: Call) -> Code | None:
    try:
        policy.check(call)  # type: ignore[attr-defined]
    except TollwayError as error:
        return error.code
    return None


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_expired_key_is_refused_even_when_it_was_verified_before() -> None:
    clock = Clock()
    policy = ApiKeyPolicy(PEPPER, clock)
    secret = generate("live").encode()
    policy.put(KeyDoc(id="k", hash=secret_hash(secret, PEPPER), application="a", expires_at=2_000))
    call = Call(model="m", credential=secret)
    assert refusal(policy, call) is None
    clock.now = 2_000.0
    assert refusal(policy, call) is Code.UNAUTHENTICATED


def test_key_under_another_pepper_is_unknown() -> None:
    policy = ApiKeyPolicy(b"other", Clock())
    secret = generate("live").encode()
    policy.put(KeyDoc(id="k", hash=secret_hash(secret, PEPPER), application="a"))
    assert refusal(policy, Call(model="m", credential=secret)) is Code.UNAUTHENTICATED


def test_changed_key_takes_effect_at_once() -> None:
    policy = ApiKeyPolicy(PEPPER, Clock())
    secret = generate("live").encode()
    hashed = secret_hash(secret, PEPPER)
    policy.put(KeyDoc(id="k", hash=hashed, application="a"))
    call = Call(model="m", credential=secret)
    assert refusal(policy, call) is None
    policy.put(KeyDoc(id="k", hash=hashed, application="b", models=("x",)))
    assert refusal(policy, call) is None
    assert call.identity is not None
    assert (call.identity.application, call.identity.models) == ("b", frozenset({"x"}))


def test_subscription_is_needed_and_its_removal_is_felt() -> None:
    plans = Plans()
    policy = SubscriptionPolicy(plans)
    call = Call(model="m", identity=Identity("k", "shop"))
    assert refusal(policy, call) is Code.NOT_SUBSCRIBED
    plans.put(PlanDoc(name="unlimited"))
    plans.subscriptions.put(SubscriptionDoc(application="shop", model="m", plan="unlimited"))
    assert refusal(policy, call) is None
    plans.subscriptions.remove("shop/m")
    assert refusal(policy, call) is Code.NOT_SUBSCRIBED


def test_other_terms_and_another_plan_hold_at_once() -> None:
    plans = Plans()
    policy = SubscriptionPolicy(plans)
    call = Call(model="m", identity=Identity("k", "shop"))
    subscription = SubscriptionDoc(application="shop", model="m", plan="free")
    plans.put(PlanDoc(name="free", max_rows=1))
    plans.put(PlanDoc(name="large"))
    for plan, max_rows, expected in (("free", 1, 1), ("free", 2, 2), ("large", None, None)):
        plans.put(PlanDoc(name=plan, max_rows=max_rows))
        plans.subscriptions.put(msgspec.structs.replace(subscription, plan=plan))
        assert refusal(policy, call) is None
        assert call.plan is not None
        assert call.plan.max_rows == expected


def test_plan_whose_terms_are_not_known_admits_nobody() -> None:
    plans = Plans()
    policy = SubscriptionPolicy(plans)
    call = Call(model="m", identity=Identity("k", "shop"))
    plans.subscriptions.put(SubscriptionDoc(application="shop", model="m", plan="free"))
    assert refusal(policy, call) is Code.UNAVAILABLE
    plans.put(PlanDoc(name="free"))
    assert refusal(policy, call) is None
    plans.remove("free")
    assert refusal(policy, call) is Code.UNAVAILABLE
    plans.put(PlanDoc(name="free"))
    plans.clear()
    assert refusal(policy, call) is Code.UNAVAILABLE


def test_restricted_key_is_refused_for_other_models() -> None:
    plans = Plans()
    plans.put(PlanDoc(name="unlimited"))
    plans.subscriptions.put(SubscriptionDoc(application="shop", model="m", plan="unlimited"))
    policy = SubscriptionPolicy(plans)
    restricted = Identity("k", "shop", models=frozenset({"other"}))
    assert refusal(policy, Call(model="m", identity=restricted)) is Code.FORBIDDEN


@pytest.mark.parametrize(
    ("state", "consumer", "admin"),
    [
        ("registered", Code.VERSION_NOT_FOUND, None),
        ("validated", Code.VERSION_NOT_FOUND, None),
        ("approved", Code.VERSION_NOT_FOUND, None),
        ("published", None, None),
        ("deprecated", None, None),
        ("retired", Code.GONE, Code.GONE),
        ("rejected", Code.VERSION_NOT_FOUND, Code.VERSION_NOT_FOUND),
    ],
)
def test_states_admit_whom_they_should(
    state: VersionState, consumer: Code | None, admin: Code | None
) -> None:
    policy = LifecyclePolicy()
    for identity, expected in (
        (Identity("k", "shop"), consumer),
        (Identity("t", "", role="admin"), admin),
        (Identity("t", "", role="auditor"), consumer),
    ):
        call = Call(model="m", identity=identity, version=1, state=state)
        assert refusal(policy, call) is expected


def test_declared_size_over_the_limit_is_refused() -> None:
    policy = RequestSizePolicy(100)
    assert refusal(policy, Call(model="m", content_length=100)) is None
    assert refusal(policy, Call(model="m", content_length=101)) is Code.TOO_LARGE


@pytest.mark.parametrize("waits", [False, True])
async def test_a_defect_of_a_step_is_an_answer_and_no_silence(waits: bool) -> None:
    def wait(_call: Call) -> asyncio.Future[None] | None:
        if not waits:
            return None
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_result, None)
        return future

    def broken(_call: Call) -> None:
        raise OverflowError("a number is too large")

    with pytest.raises(TollwayError) as refused:
        async with asyncio.timeout(5):
            await Chain([wait, broken]).passed(Call(model="m"))
    assert (refused.value.code, refused.value.public) == (
        Code.INTERNAL,
        "an internal error of the gateway",
    )


def test_a_plan_brings_the_deadline_forward_and_never_puts_it_off() -> None:
    policy = PlanDeadlinePolicy()
    for of_plan, deadline in ((None, 12.0), (500, 10.5), (2_000, 12.0), (60_000, 12.0)):
        plan = Limits(PlanDoc(name="p", deadline_ms=of_plan))
        call = Call(model="m", started=10.0, deadline=12.0, plan=plan)
        assert refusal(policy, call) is None
        assert call.deadline == deadline
    call = Call(model="m", started=10.0, deadline=12.0)
    policy.check(call)
    assert call.deadline == 12.0
