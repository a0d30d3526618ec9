"""Which version answered an application at a moment: one query, from the log and from usage."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.manifest import sha256_digest
from protocol.usage import UsageRecord
from registry.store import audit
from tests.control.accounts import make, session
from tests.control.audited_models import published
from tests.control.running import Control
from tests.control.test_composition import MODEL, report


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The statements are plain SQL; what both databases must agree on is tested elsewhere."""
    return f"sqlite:///{tmp_path / 'tollway.db'}"


async def ask(control: Control, at_ms: int, **more: str) -> dict[str, Any]:
    params = {"application": "shop", "model": "risk", "at": moment(at_ms), **more}
    answer = await control.admin.get("/api/v1/audit/answered", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


async def move(control: Control, version: int) -> int:
    """Give the traffic to the version; returns when that was."""
    control.clock.advance(60)
    # Who has not reported for so long is lost.
    await report(control, version, "ready", beside=tuple({1, 2} - {version}))
    path = "/api/v1/models/risk/rollout"
    assert (await control.admin.put(path, json={"stable": version})).status_code == 200
    return control.clock.now_ms


async def _published_again(control: Control) -> int:
    blob = {"digest": sha256_digest(MODEL), "size": len(MODEL)}
    path = "/api/v1/models/risk/versions"
    made = (await control.admin.post(path, json={"artifact": blob})).json()
    number = int(made["number"])
    await report(control, number, "ready", beside=(1,))
    for to in ("validated", "approved", "published"):
        done = await control.admin.post(f"{path}/{number}/transitions", json={"to": to})
        assert done.status_code == 200, done.text
    return number


async def prepare(control: Control) -> list[int]:
    """Moments: before anything, subscribed, on 1, on 2, on 1 again, unsubscribed, no alias."""
    first = await published(control)
    second = await _published_again(control)
    moments = [control.clock.now_ms]
    control.clock.advance(60)
    await control.admin.put("/api/v1/applications/shop")
    subscription = "/api/v1/subscriptions/shop/risk"
    await control.admin.put(subscription, json={"plan": "unlimited"})
    moments.append(control.clock.now_ms)
    moments += [await move(control, version) for version in (first, second, first)]
    control.clock.advance(60)
    await control.admin.delete(subscription)
    moments.append(control.clock.now_ms)
    control.clock.advance(60)
    alias = "/api/v1/models/risk/aliases/stable"
    tag = (await control.admin.get(alias)).headers["ETag"]
    await control.admin.delete(alias, headers={"If-Match": tag})
    moments.append(control.clock.now_ms)
    return moments


async def test_each_moment_is_answered_by_what_was_in_force_then(control: Control) -> None:
    moments = await prepare(control)

    versions = [(await ask(control, at))["routed"]["version"] for at in moments]
    just_before = [(await ask(control, at - 1))["routed"]["version"] for at in moments]

    assert versions == [None, None, 1, 2, 1, 1, None]
    assert just_before == [None, None, None, 1, 2, 1, 1]
    routed = (await ask(control, moments[3] + 30_000))["routed"]
    assert datetime.fromisoformat(routed["since"]) == datetime.fromisoformat(moment(moments[3]))
    page = (await control.admin.get("/api/v1/audit", params={"kind": "alias"})).json()["items"]
    assert routed["entry"] in [item["seq"] for item in page]


async def test_the_subscription_is_as_it_was_then(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk")
    await control.admin.put("/api/v1/applications/shop")
    states = [{"plan": "free", "state": "pending"}, {"plan": "free", "state": "active"}, None]
    moments = []
    for before, after in pairwise([None, *states]):
        control.clock.advance(60)
        moments.append(control.clock.now_ms)
        with control.services.database.write() as connection:
            audit.record(
                connection,
                "subscription.changed",
                "subscription",
                "shop/risk",
                at_ms=control.clock.now_ms,
                before=before,
                after=after,
            )

    found = [(await ask(control, at))["subscription"] for at in moments]

    assert [(one["plan"], one["state"]) for one in found] == [
        ("free", "pending"),
        ("free", "active"),
        (None, None),
    ]
    assert (await ask(control, moments[0] - 1))["subscription"]["entry"] is None


async def test_what_usage_counted_in_that_minute_is_part_of_the_answer(control: Control) -> None:
    moments = await prepare(control)
    at = moments[3]
    records = [
        UsageRecord(
            at_ms=at,
            application="shop",
            key="key-1",
            model="risk",
            version=version,
            variant=variant,
            status=200,
            rows=1,
            queue_us=1,
            infer_us=1,
            total_us=1,
            bytes_in=1,
            bytes_out=1,
            prediction_id=f"p{number}",
        )
        for number, (version, variant) in enumerate([(2, "stable"), (2, "stable"), (1, "pinned")])
    ]
    body = b"".join(msgspec.json.encode(one) + b"\n" for one in records)
    params = {"gateway": "g1", "segment": "s1", "offset": 0}
    await control.cluster.post("/internal/v1/usage", params=params, content=body)

    counted = (await ask(control, at))["counted"]

    assert [(one["version"], one["variant"], one["requests"]) for one in counted] == [
        (1, "pinned", 1),
        (2, "stable", 2),
    ]
    assert (await ask(control, at - 60_000))["counted"] == []


async def test_what_is_not_there_or_not_reached_is_not_found(control: Control) -> None:
    at = (await prepare(control))[-1]
    await make(control, "ann", "publisher")
    params = {"application": "shop", "model": "risk", "at": moment(at)}
    async with await session(control, "ann") as ann:
        hidden = await ann.get("/api/v1/audit/answered", params=params)
    unknown = await control.admin.get(
        "/api/v1/audit/answered", params={**params, "application": "nobody"}
    )
    future = await control.admin.get(
        "/api/v1/audit/answered", params={**params, "at": moment(at + 1000)}
    )

    assert (hidden.status_code, unknown.status_code, future.status_code) == (404, 404, 422)
    assert hidden.json()["detail"].replace("shop", "nobody") == unknown.json()["detail"]
