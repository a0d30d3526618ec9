"""An endpoint hears of what its owner reaches, in words that hold no secret."""

import msgspec
import pytest

from control.webhooks.audience import Claim, Relations, claim, hears, reaches
from control.webhooks.catalog import CATALOG
from control.webhooks.events import AuditRow, Event, check_patterns, event_of, matches
from control.webhooks.resources import Webhook
from protocol.errors import Code, TollwayError
from registry.access import Actor

RELATIONS = Relations(
    consumer_of={"shop": "acme", "bank-app": "bank"}.get,
    subscribes=lambda consumer, model: (consumer, model) == ("acme", "risk"),
    managed_by=lambda user: {"pub": frozenset({"risk"}), "root": None}.get(user, frozenset()),
)


def endpoint(scope: str = "all", **more: object) -> Webhook:
    fields: dict[str, object] = {
        "id": "whk-1", "url": "https://x.example", "events": ["*"], "title": "", "enabled": True,
        "disabled_reason": "", "scope": scope, "consumer": None, "models": None, "owner": "root",
        "secret_generation": 1, "previous_secret_until": None, "failing_since": None,
        "created_at": "", "updated_at": "",
    }  # fmt: skip
    return Webhook.model_validate({**fields, **more})


def event(action: str, kind: str, key: str, after: object = None, before: object = None) -> Event:
    found = event_of(row(action, kind, key, after, before))
    assert found is not None
    return found


def row(action: str, kind: str, key: str, after: object, before: object = None) -> AuditRow:
    return AuditRow(
        seq=7, at_ms=0, action=action, kind=kind, key=key, hash="ab" * 32,
        before=None if before is None else msgspec.json.encode(before).decode(),
        after=None if after is None else msgspec.json.encode(after).decode(),
    )  # fmt: skip


SHOP_KEY = event("key.created", "key", "key-1", {"id": "key-1", "application": "shop"})
QUOTA = event("quota.threshold_reached", "subscription", "shop/risk", {"percent": 80})
PUBLISHED = event("version.published", "version", "risk/3", {"model": "risk", "state": "published"})
VALIDATED = event("version.validated", "version", "risk/3", {"model": "risk", "state": "validated"})
MOVED = event("alias.moved", "alias", "risk/stable", {"model": "risk", "version": 3})
EVALUATED = event("evidence.added", "evidence", "risk/3/sha256:e", {"model": "risk", "value": 0.9})
ALERT = event("alert.raised", "alert", "risk/3", {"kind": "batch_variance", "model": "risk"})
PLAN = event("plan.changed", "plan", "free", {"name": "free"})
EVERYTHING = (SHOP_KEY, QUOTA, PUBLISHED, VALIDATED, MOVED, EVALUATED, ALERT, PLAN)


def heard(webhook: Webhook) -> list[Event]:
    return [one for one in EVERYTHING if hears(webhook, one, RELATIONS)]


def test_an_administrators_endpoint_hears_of_everything() -> None:
    assert heard(endpoint()) == list(EVERYTHING)


def test_an_endpoint_of_a_former_administrator_hears_of_nothing() -> None:
    assert heard(endpoint(owner="former")) == []


def test_a_consumers_hears_of_their_applications_and_of_what_they_subscribe_to() -> None:
    assert heard(endpoint("consumer", consumer="acme")) == [SHOP_KEY, QUOTA, PUBLISHED, MOVED]


def test_another_consumers_hears_of_none_of_that() -> None:
    assert heard(endpoint("consumer", consumer="bank")) == []


def test_a_publishers_hears_of_their_models_and_their_subscriptions_but_not_of_keys() -> None:
    expected = [QUOTA, PUBLISHED, VALIDATED, MOVED, EVALUATED, ALERT]
    assert heard(endpoint("models", owner="pub")) == expected
    assert heard(endpoint("models", owner="pub", models=["risk"])) == expected
    assert heard(endpoint("models", owner="pub", models=["other"])) == []


def test_a_publisher_who_manages_a_model_no_longer_hears_no_more_of_it() -> None:
    assert heard(endpoint("models", owner="former", models=["risk"])) == []


def test_only_the_types_asked_for_are_heard() -> None:
    assert heard(endpoint(events=["key.*"])) == [SHOP_KEY]
    assert heard(endpoint(events=["quota.threshold_reached", "alias.moved"])) == [QUOTA, MOVED]


def test_an_application_that_changes_hands_is_told_to_its_present_consumer() -> None:
    moved = event(
        "application.changed", "application", "shop",
        {"name": "shop", "consumer": "bank"}, {"name": "shop", "consumer": "acme"},
    )  # fmt: skip
    assert hears(endpoint("consumer", consumer="bank"), moved, RELATIONS)
    assert not hears(endpoint("consumer", consumer="acme"), moved, RELATIONS)


def test_fields_that_are_not_listed_never_leave() -> None:
    made = event(
        "key.created", "key", "key-1",
        {"id": "key-1", "application": "shop", "secret": "tw_live_x", "created_by": "a"},
    )  # fmt: skip
    assert msgspec.json.decode(made.body)["data"]["after"] == {"id": "key-1", "application": "shop"}


@pytest.mark.parametrize(
    ("action", "kind"),
    [("login.failed", "session"), ("user.created", "user"), ("webhook.created", "webhook"),
     ("key.created", "user"), ("key.exploded", "key")],
)  # fmt: skip
def test_what_is_no_public_matter_makes_no_event(action: str, kind: str) -> None:
    assert event_of(row(action, kind, "x", {"id": "x"})) is None


def test_an_events_id_is_the_same_however_often_it_is_made() -> None:
    again = event("key.created", "key", "key-1", {"id": "key-1", "application": "shop"})

    assert again == SHOP_KEY
    assert again.id == "evt_" + "ab" * 16


def test_patterns_are_types_kinds_or_all() -> None:
    assert check_patterns(["*", "key.*", "alias.moved", "key.*"]) == ["*", "key.*", "alias.moved"]
    for wrong in ("key", "key.", "keys.*", "*.created", "key.created.*", "", "login.failed"):
        with pytest.raises(TollwayError, match="event type"):
            check_patterns([wrong])
    assert all(matches(["*"], type) and matches([type], type) for type in CATALOG)
    assert not matches(["key.*"], "keys.created")


ADMIN = Actor("root", "admin")
PUBLISHER = Actor("pub", "publisher", "pub-team", frozenset({"risk"}))
CONSUMER = Actor("eve", "consumer", "acme", frozenset())


def test_who_makes_an_endpoint_restricts_what_it_hears_of() -> None:
    assert claim(ADMIN, None, None) == Claim("all", None, None)
    assert claim(ADMIN, "acme", None) == Claim("consumer", "acme", None)
    assert claim(ADMIN, None, ["risk", "risk"]) == Claim("models", None, ["risk"])
    assert claim(PUBLISHER, None, None) == Claim("models", None, None)
    assert claim(PUBLISHER, "pub-team", None) == Claim("consumer", "pub-team", None)
    assert claim(CONSUMER, None, None) == Claim("consumer", "acme", None)
    assert claim(CONSUMER, "acme", None) == Claim("consumer", "acme", None)


@pytest.mark.parametrize(
    ("actor", "consumer", "models", "code"),
    [
        (PUBLISHER, "acme", None, Code.NOT_FOUND),
        (PUBLISHER, None, ["risk", "other"], Code.MODEL_NOT_FOUND),
        (CONSUMER, "bank", None, Code.NOT_FOUND),
        (CONSUMER, None, ["risk"], Code.MODEL_NOT_FOUND),
        (Actor("eve", "consumer"), None, None, Code.FORBIDDEN),
        (ADMIN, "acme", ["risk"], Code.INVALID),
    ],
)
def test_nobody_makes_an_endpoint_for_what_they_do_not_reach(
    actor: Actor, consumer: str | None, models: list[str] | None, code: Code
) -> None:
    with pytest.raises(TollwayError) as refused:
        claim(actor, consumer, models)

    assert refused.value.code is code


def test_who_reaches_an_endpoint() -> None:
    of_all, of_acme = endpoint(), endpoint("consumer", consumer="acme", owner="eve")
    of_pub, of_risk = endpoint("models", owner="pub"), endpoint("models", models=["risk"])
    of_other = endpoint("models", owner="else", models=["risk", "other"])

    def seen(actor: Actor) -> list[Webhook]:
        return [w for w in (of_all, of_acme, of_pub, of_risk, of_other) if reaches(actor, w)]

    assert seen(ADMIN) == [of_all, of_acme, of_pub, of_risk, of_other]
    assert seen(Actor("a", "auditor")) == seen(ADMIN)
    assert seen(PUBLISHER) == [of_pub, of_risk]
    assert seen(CONSUMER) == [of_acme]
    assert seen(Actor("mallory", "consumer", "bank", frozenset())) == []
    assert seen(Actor("eve", "consumer")) == []
    assert seen(Actor("pub2", "publisher", "x", frozenset())) == []
