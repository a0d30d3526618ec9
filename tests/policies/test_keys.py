"""What a credential may be used for, and from where."""

import msgspec
import pytest

from policies.addresses import Networks
from policies.api_key import ApiKeyPolicy
from policies.base import Call, Identity, is_visible
from policies.environment import EnvironmentPolicy
from policies.lifecycle import LifecyclePolicy
from policies.limits import Limits
from policies.network import NetworkPolicy
from policies.origins import OriginPolicy
from policies.plans import Plans
from policies.request_size import RequestSizePolicy
from policies.rows import row_limit
from policies.scopes import ScopePolicy
from policies.subscription import SubscriptionPolicy
from protocol.configuration import SCOPES, ApplicationDoc, KeyDoc, PlanDoc, Scope
from protocol.errors import Code
from protocol.keys import generate, secret_hash
from tests.policies.test_policies import PEPPER, Clock, refusal


def key(secret: str, **fields: object) -> KeyDoc:
    document = {"id": "k", "hash": secret_hash(secret.encode(), PEPPER), **fields}
    return msgspec.convert(document, KeyDoc)


def identified(policy: ApiKeyPolicy, secret: str) -> Identity | Code | None:
    call = Call(model="m", credential=secret.encode())
    return refusal(policy, call) or call.identity


def test_a_revoked_key_is_forgotten_and_the_others_stay_verified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = ApiKeyPolicy(PEPPER, Clock())
    secrets = [generate("live") for _ in range(3)]
    for number, secret in enumerate(secrets):
        policy.put(key(secret, id=f"k{number}", application="a"))
        assert isinstance(identified(policy, secret), Identity)

    policy.remove("k1")
    monkeypatch.setattr("policies.api_key.secret_hash", lambda *_: pytest.fail("verified again"))

    assert isinstance(identified(policy, secrets[0]), Identity)
    assert isinstance(identified(policy, secrets[2]), Identity)
    monkeypatch.undo()
    assert identified(policy, secrets[1]) is Code.UNAUTHENTICATED


def test_each_secret_of_a_rotated_key_ends_by_itself() -> None:
    policy = ApiKeyPolicy(PEPPER, Clock())
    old, new = generate("live"), generate("live")
    policy.put(key(old, id="old", lineage="key-1", application="a"))
    policy.put(key(new, id="new", lineage="key-1", application="a"))
    for secret in (old, new):
        found = identified(policy, secret)
        assert isinstance(found, Identity)
        assert found.key == "key-1"
    policy.remove("old")
    assert identified(policy, old) is Code.UNAUTHENTICATED
    assert isinstance(identified(policy, new), Identity)
    policy.remove("new")
    assert identified(policy, new) is Code.UNAUTHENTICATED


def test_a_rotated_key_takes_its_new_secret_alone() -> None:
    policy = ApiKeyPolicy(PEPPER, Clock())
    old, new = generate("live"), generate("live")
    policy.put(key(old, application="a"))
    assert isinstance(identified(policy, old), Identity)
    policy.put(key(new, application="a"))
    assert identified(policy, old) is Code.UNAUTHENTICATED
    assert isinstance(identified(policy, new), Identity)
    policy.clear()
    assert identified(policy, new) is Code.UNAUTHENTICATED


def test_a_network_that_cannot_be_read_admits_nobody() -> None:
    policy = ApiKeyPolicy(PEPPER, Clock())
    secret = generate("live")
    policy.put(key(secret, application="a", networks=["10.0.0.0/8", "nonsense"]))
    found = identified(policy, secret)
    assert isinstance(found, Identity)
    call = Call(model="m", identity=found, client="10.0.0.1")
    assert refusal(NetworkPolicy(), call) is Code.FORBIDDEN


@pytest.mark.parametrize(
    ("networks", "client", "expected"),
    [
        (None, "", None),
        (["10.0.0.0/8"], "10.1.2.3", None),
        (["10.0.0.0/8"], "::ffff:10.1.2.3", None),
        (["10.0.0.0/8"], "11.1.2.3", Code.FORBIDDEN),
        (["10.0.0.0/8"], "", Code.FORBIDDEN),
        (["10.0.0.0/8", "2001:db8::/32"], "2001:db8::7", None),
        (["192.0.2.7"], "192.0.2.7", None),
        (["0.0.0.0/0"], "2001:db8::7", Code.FORBIDDEN),
        (["::/0"], "192.0.2.7", Code.FORBIDDEN),
    ],
)
def test_a_key_works_from_its_networks_alone(
    networks: list[str] | None, client: str, expected: Code | None
) -> None:
    within = None if networks is None else Networks.parse(networks)
    call = Call(model="m", client=client, identity=Identity("k", "a", networks=within))
    assert refusal(NetworkPolicy(), call) is expected


def test_a_gateway_takes_keys_of_its_environments_and_every_token() -> None:
    policy = EnvironmentPolicy(frozenset({"live"}))
    for identity, expected in (
        (Identity("k", "a", environment="live"), None),
        (Identity("k", "a", environment="test"), Code.FORBIDDEN),
        (Identity("t", "", role="admin"), None),
    ):
        assert refusal(policy, Call(model="m", identity=identity)) is expected


@pytest.mark.parametrize("needed", SCOPES)
@pytest.mark.parametrize("of_key", [None, (), ("predict",), ("explain", "metadata"), SCOPES])
@pytest.mark.parametrize("of_plan", [None, (), ("predict", "explain"), SCOPES])
def test_key_and_plan_must_both_have_the_scope(
    needed: Scope, of_key: tuple[Scope, ...] | None, of_plan: tuple[Scope, ...] | None
) -> None:
    scopes = None if of_key is None else frozenset(of_key)
    call = Call(model="m", scope=needed, identity=Identity("k", "a", scopes=scopes))
    call.plan = Limits(PlanDoc(name="p", scopes=of_plan))
    passes = all(given is None or needed in given for given in (of_key, of_plan))
    assert refusal(ScopePolicy(), call) is (None if passes else Code.FORBIDDEN)


@pytest.mark.parametrize(
    ("role", "models", "mine", "other"),
    [
        ("admin", None, None, None),
        ("publisher", None, None, None),
        ("publisher", {"mine"}, None, Code.FORBIDDEN),
        ("publisher", set(), Code.FORBIDDEN, Code.FORBIDDEN),
        ("sponsor", None, Code.FORBIDDEN, Code.FORBIDDEN),
        ("consumer", None, Code.FORBIDDEN, Code.FORBIDDEN),
        ("auditor", {"mine"}, Code.FORBIDDEN, Code.FORBIDDEN),
    ],
)
def test_management_tokens_call_the_models_that_they_manage(
    role: str, models: set[str] | None, mine: Code | None, other: Code | None
) -> None:
    identity = Identity("t", "", role=role, models=None if models is None else frozenset(models))
    policy = SubscriptionPolicy(Plans())
    for model, expected in (("mine", mine), ("other", other)):
        assert refusal(policy, Call(model=model, identity=identity)) is expected
        assert is_visible(model, "registered", identity) is (expected is None)
        assert is_visible(model, "published", identity)
        staged = Call(model=model, identity=identity, version=1, state="validated")
        hidden = None if expected is None else Code.VERSION_NOT_FOUND
        assert refusal(LifecyclePolicy(), staged) is hidden


def origins(*allowed: str) -> OriginPolicy:
    policy = OriginPolicy()
    policy.put(ApplicationDoc(name="a", consumer="c", origins=allowed))
    return policy


@pytest.mark.parametrize(
    ("allowed", "origin", "passes"),
    [
        (("https://shop.example",), b"https://shop.example", True),
        (("https://Shop.Example",), b"https://shop.example", True),
        (("https://shop.example:8443",), b"https://shop.example:8443", True),
        (("https://shop.example",), b"https://shop.example:8443", False),
        (("https://shop.example",), b"http://shop.example", False),
        (("https://shop.example",), b"https://shop.example.evil.example", False),
        (("https://shop.example",), b"null", False),
        (("https://shop.example",), b"", False),
        (("null", "*"), b"null", False),
        (("*",), b"https://shop.example", False),
        ((), b"https://shop.example", False),
    ],
)
def test_an_origin_is_allowed_when_it_is_named_exactly(
    allowed: tuple[str, ...], origin: bytes, passes: bool
) -> None:
    policy = origins(*allowed)
    call = Call(model="m", origin=origin, identity=Identity("k", "a"))
    assert refusal(policy, call) is (None if passes else Code.FORBIDDEN)
    assert policy.may_read(call) is passes
    assert policy.allowed_by_any(origin) is passes
    # Whose page it is nobody knows yet.
    assert policy.may_read(Call(model="m", origin=origin)) is passes


def test_an_origin_is_allowed_for_its_own_application_until_it_is_taken_back() -> None:
    policy = origins("https://shop.example")
    policy.put(ApplicationDoc(name="b", consumer="c", origins=("https://shop.example",)))
    call = Call(model="m", origin=b"https://shop.example", identity=Identity("k", "other"))
    assert refusal(policy, call) is Code.FORBIDDEN
    assert refusal(policy, Call(model="m", identity=Identity("k", "other"))) is None
    policy.put(ApplicationDoc(name="a", consumer="c"))
    assert policy.allowed_by_any(b"https://shop.example")
    policy.remove("b")
    assert not policy.allowed_by_any(b"https://shop.example")
    call.identity = Identity("k", "b")
    assert refusal(policy, call) is Code.FORBIDDEN


def test_the_smaller_of_the_gateways_and_the_plans_body_limit_holds() -> None:
    policy = RequestSizePolicy(100)
    for of_plan, limit in ((None, 100), (50, 50), (200, 100), (0, 0)):
        call = Call(model="m", plan=Limits(PlanDoc(name="p", max_body_bytes=of_plan)))
        assert policy.limit(call) == limit
        call.content_length = limit
        assert refusal(policy, call) is None
        call.content_length = limit + 1
        assert refusal(policy, call) is Code.TOO_LARGE


def test_a_plan_of_no_rows_does_not_become_one_of_any() -> None:
    for of_plan, sent in ((None, 0), (0, 1), (7, 7), (1 << 40, 0xFFFFFFFF)):
        assert row_limit(Call(model="m", plan=Limits(PlanDoc(name="p", max_rows=of_plan)))) == sent
    assert row_limit(Call(model="m")) == 0
