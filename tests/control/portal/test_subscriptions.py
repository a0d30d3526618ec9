"""Subscriptions, versions, usage, statements and webhooks as pages."""

import re

import httpx
import msgspec
import pytest

from protocol.usage import UsageRecord
from tests.control.portal.conftest import Visiting
from tests.control.portal.test_applications import HOSTILE, application, key, send
from tests.control.running import Control
from tests.control.tenants import register
from tests.control.test_captures import capture
from tests.control.test_captures import send as send_captures
from tests.control.test_composition import report
from tests.control.test_disagreements import example, place, summary, tally

BASE = "/portal/applications/shop"


@pytest.fixture
async def shop(visiting: Visiting, control: Control) -> httpx.AsyncClient:
    """The owner of ``shop``, which subscribes to ``risk`` and has called it."""
    await control.admin.put("/api/v1/models/risk")
    for number in (1, 2):
        register(control, "risk", "admin", "published", number)
    await report(control, 1, "ready", beside=(2,))
    client = await visiting("consumer")
    await application(control, "shop", "robin-consumer", title=HOSTILE)
    price = {"price_per_thousand": {"amount": "2.50", "currency": "EUR"}, "quota": {"limit": 1000}}
    await control.admin.put("/api/v1/plans/paid", json=price)
    await control.admin.put("/api/v1/subscriptions/shop/risk", json={"plan": "paid"})
    made = await key(control, "shop", label="till")
    lines = [
        msgspec.json.encode(
            UsageRecord(
                control.clock.now_ms, "shop", made["id"], "risk", 2, "stable", status,
                1, 0, 5_000, 9_000, 10, 10, "", "paid",
            )
        ) + b"\n"
        for status in (200, 200, 200, 422)
    ]  # fmt: skip
    control.services.usage.store.ingest("gateway", "segment", 0, b"".join(lines))
    return client


async def test_a_plan_is_changed_and_a_subscription_cancelled(
    shop: httpx.AsyncClient, control: Control
) -> None:
    own = f"{BASE}/subscriptions/risk"
    assert "paid" in (await shop.get(own)).text
    assert (await send(shop, own, plan="free")).status_code == 303
    found = (await control.admin.get("/api/v1/subscriptions/shop/risk")).json()
    assert found["plan"] == "free"
    gold = {"approval": "publisher"}
    await control.admin.put("/api/v1/plans/gold", json=gold)
    await send(shop, own, plan="gold")
    assert "waits for approval" in (await shop.get(own)).text
    assert "waits for gold" in (await shop.get(f"{BASE}/subscriptions")).text
    none = await send(shop, own, plan="none")
    assert none.status_code == 422
    assert "there is no plan" in none.text
    assert (await send(shop, f"{own}/cancel")).status_code == 303
    assert (await shop.get(own)).status_code == 404


async def test_usage_is_shown_with_its_errors_quota_and_cost(shop: httpx.AsyncClient) -> None:
    for asked in ("1h", "24h", "7d", "30d", "90d"):
        page = await shop.get(f"{BASE}/usage?range={asked}")
        assert page.status_code == 200
        assert "996 of 1,000 requests left" in page.text
        assert re.search(r'<dd class="value">25.00 %</dd>', page.text), asked
        assert "0.01 EUR" in page.text
        assert "<script>alert" not in page.text
    table = await shop.get(f"{BASE}/usage.csv?range=24h&model=risk")
    assert table.headers["Content-Type"].startswith("text/csv")
    assert table.text.splitlines()[0].startswith("time,model,version,status,requests")
    assert len(table.text.splitlines()) == 3
    assert "Nobody called" in (await shop.get(f"{BASE}/usage?model=other")).text
    assert (await shop.get(f"{BASE}/usage?range=1y")).status_code == 422


async def test_a_months_statement_is_a_page_and_a_table(shop: httpx.AsyncClient) -> None:
    assert f"{BASE}/statements/2027-01" in (await shop.get(f"{BASE}/statements")).text
    page = await shop.get(f"{BASE}/statements/2027-01")
    assert "Billed are requests" in page.text
    assert "2.50 EUR" in page.text
    table = await shop.get(f"{BASE}/statements/2027-01.csv")
    assert 'filename="shop-2027-01.csv"' in table.headers["Content-Disposition"]
    assert "shop/2027-01" in table.text
    assert (await shop.get(f"{BASE}/statements/1999")).status_code == 422


async def test_a_version_is_pinned_and_let_go(shop: httpx.AsyncClient, control: Control) -> None:
    own = f"{BASE}/pins/risk"
    assert "made stable" in (await shop.get(f"{BASE}/pins")).text
    assert (await send(shop, own, version="1", reason=HOSTILE)).status_code == 303
    pinned = await shop.get(f"{BASE}/pins")
    assert "version 1" in pinned.text
    assert "<script>alert" not in pinned.text
    refused = await send(shop, own, version="77")
    assert "field-version-error" in refused.text
    assert (await send(shop, f"{own}/remove")).status_code == 303
    assert (await control.admin.get("/api/v1/applications/shop/pins/risk")).status_code == 404


async def test_a_preview_tells_what_would_change_and_offers_a_replay(
    shop: httpx.AsyncClient, control: Control
) -> None:
    before = await shop.get(f"{BASE}/pins/risk")
    assert "captures no requests" in before.text
    assert "Not known from traffic" in before.text
    hostile = example(1, inputs={HOSTILE: HOSTILE})
    control.services.disagreements.take(summary(1, (place(), tally()), examples=(hostile,)))
    await send_captures(control, capture(1, version=2, request_coding=""))
    page = await shop.get(f"{BASE}/pins/risk?from=2&to=1")
    assert re.search(r'<dd class="value">33.33 %</dd>', page.text)
    assert "2 of 6 rows compared" in page.text
    assert "<script>alert" not in page.text
    assert "Replay your own requests" in page.text
    [one] = (await shop.get(f"{BASE}/captures/risk.json?version=2")).json()
    kept = await shop.get(f"{BASE}/captured/{one['id']}.json")
    assert kept.json()["request"]
    assert kept.headers["Cache-Control"] == "private, no-store"


async def test_a_webhook_is_made_tested_and_removed(visiting: Visiting, control: Control) -> None:
    client = await visiting("consumer")
    assert "No webhook yet" in (await client.get("/portal/webhooks")).text
    new = "/portal/webhooks/new"
    refused = await send(client, new, url="ftp://example.com")
    assert "field-url-error" in refused.text
    made = await send(client, new, url="https://93.184.216.34/x", title=HOSTILE, which="all")
    secret = re.search(r"whsec_[\w+/=]+", made.text)
    assert secret is not None
    listed = (await client.get("/portal/webhooks")).text
    assert "<script>alert" not in listed
    [id] = set(re.findall(r'/portal/webhooks/([\w-]{8,})"', listed))
    own = f"/portal/webhooks/{id}"
    assert secret[0] not in (await client.get(own)).text
    change = {"url": "https://93.184.216.34/y", "which": "some", "events": "key.created"}
    assert (await send(client, f"{own}/edit", **change)).status_code == 303
    found = (await control.admin.get(f"/api/v1/webhooks/{id}")).json()
    assert (found["url"], found["events"], found["enabled"]) == (
        "https://93.184.216.34/y", ["key.created"], False,
    )  # fmt: skip
    assert "whsec_" in (await send(client, f"{own}/rotate", overlap_s="3600")).text
    assert (await client.get(f"{own}?state=failed")).status_code == 200
    auditor = await visiting("auditor")
    assert (await auditor.get(own)).status_code == 200
    assert (await auditor.get(f"{own}/edit")).status_code == 403
    other = await visiting("publisher")
    assert (await other.get(own)).status_code == 404
    assert (await send(client, f"{own}/delete")).status_code == 303
    assert (await client.get(own)).status_code == 404
