"""What a consumer owns: from a model to a key, applications, keys, the account."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.control.portal.conftest import PASSWORD, Visiting, filled, log_in, token_of
from tests.control.running import Control
from tests.control.tenants import register

HOSTILE = "<script>alert('x')</script>\"{{7*7}}"
SECRET = re.compile(r'<code id="new-\w+">(\w+)</code>')


@pytest.fixture
async def model(control: Control) -> str:
    """A published model."""
    made = await control.admin.put("/api/v1/models/risk", json={"title": HOSTILE})
    assert made.status_code == 201
    register(control, "risk", "admin", "published")
    return "risk"


async def send(client: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    """Send a form as a page does."""
    return await client.post(path, data={**await filled(client, path), **fields})


async def subscribe(client: httpx.AsyncClient, **fields: str) -> httpx.Response:
    form = {"model": "risk", "application": "", "name": "shop", "plan": "free", **fields}
    return await send(client, "/portal/subscribe", **form)


async def application(control: Control, name: str, consumer: str, **fields: object) -> None:
    body = {"consumer": consumer, **fields}
    made = await control.admin.put(f"/api/v1/applications/{name}", json=body)
    assert made.is_success, made.text


async def key(control: Control, application: str, **fields: object) -> dict[str, Any]:
    made = await control.admin.post("/api/v1/keys", json={"application": application, **fields})
    assert made.status_code == 201, made.text
    found: dict[str, Any] = made.json()
    return found


async def test_a_stranger_is_led_from_a_model_to_a_key(
    visiting: Visiting, control: Control, model: str
) -> None:
    stranger = await visiting(None)
    asked = await stranger.get("/portal/subscribe?model=risk")
    assert asked.headers["Location"] == (
        "/portal/sign-up?next=%2Fportal%2Fsubscribe%3Fmodel%3Drisk"
    )
    form = {
        "csrf": await token_of(stranger, asked.headers["Location"]),
        "next": "/portal/subscribe?model=risk",
        "name": "newcomer",
        "password": PASSWORD,
    }
    entered = await stranger.post("/portal/sign-up", data=form)
    assert entered.headers["Location"] == "/portal/subscribe?model=risk"
    offered = await stranger.get(entered.headers["Location"])
    assert 'value="newcomer-app"' in offered.text
    assert 'value="free" checked' in offered.text

    done = await subscribe(stranger, name="newcomer-app")
    assert done.status_code == 200
    secret = SECRET.search(done.text)
    assert secret is not None
    assert done.text.count(secret[1]) == 1
    assert 'href="/portal/models/risk/try"' in done.text
    assert done.headers["Cache-Control"] == "private, no-store"
    listed = (await control.admin.get("/api/v1/keys?application=newcomer-app")).json()["items"]
    assert [one["prefix"] for one in listed] == [secret[1][: len(listed[0]["prefix"])]]
    for path in ("/portal/applications/newcomer-app", "/portal/applications/newcomer-app/keys"):
        assert secret[1] not in (await stranger.get(path)).text


async def test_an_application_may_be_called_as_a_page_is(
    visiting: Visiting, control: Control
) -> None:
    client = await visiting("consumer")
    made = await send(client, "/portal/new-application", name="new")
    assert made.headers["Location"] == "/portal/applications/new"
    assert (await client.get("/portal/applications/new")).status_code == 200


@pytest.mark.parametrize("page", ["usage", "usage.csv", "usage/events", "statements", "keys"])
async def test_of_an_application_that_is_not_ones_own_there_is_nothing(
    visiting: Visiting, page: str
) -> None:
    client = await visiting("consumer")
    for name in ("nobodys", "shop-of-another"):
        assert (await client.get(f"/portal/applications/{name}/{page}")).status_code == 404


async def test_who_signs_up_without_a_model_in_mind_is_shown_where_to_begin(
    visiting: Visiting, model: str
) -> None:
    stranger = await visiting(None)
    form = {"csrf": await token_of(stranger), "name": "newcomer", "password": PASSWORD}
    entered = await stranger.post("/portal/sign-up", data=form)
    assert entered.headers["Location"] == "/portal/start"
    assert "/portal/subscribe?model=risk" in (await stranger.get("/portal/start")).text


async def test_the_form_of_a_key_sent_twice_makes_one_key(
    visiting: Visiting, control: Control, model: str
) -> None:
    client = await visiting("consumer")
    assert (await subscribe(client, once="the-same")).status_code == 200
    again = await subscribe(client, application="shop", once="the-same")
    assert again.status_code == 409
    assert "shown only once" in again.text
    found = (await control.admin.get("/api/v1/keys?application=shop")).json()["items"]
    assert len(found) == 1


async def test_refusals_stand_beside_the_field_and_what_was_typed_stays(
    visiting: Visiting, control: Control, model: str
) -> None:
    client = await visiting("consumer")
    await application(control, "taken", "default")
    for name, said in (("Not A Name", "is not valid"), ("taken", "is not available")):
        refused = await subscribe(client, name=name, label="mine")
        assert refused.status_code in (404, 422)
        assert re.search(rf'id="field-name-error">[^<]*{said}', refused.text), refused.text
        assert f'value="{name}"' in refused.text
        assert 'value="mine"' in refused.text
    made = await subscribe(client)
    assert made.status_code == 200
    bad = await send(client, "/portal/applications/shop/keys/new", networks="192.0.2.0/24\nnowhere")
    assert bad.status_code == 422
    assert re.search(r'id="field-networks-error">[^<]*nowhere', bad.text), bad.text


async def test_a_plan_that_asks_for_approval_says_that_it_waits(
    visiting: Visiting, control: Control, model: str
) -> None:
    plan = {"title": "Gold", "approval": "publisher"}
    assert (await control.admin.put("/api/v1/plans/gold", json=plan)).status_code == 201
    client = await visiting("consumer")
    done = await subscribe(client, plan="gold")
    assert "waits for the publisher" in done.text
    assert "Try it now" not in done.text


async def test_a_key_is_made_changed_rotated_and_revoked(
    visiting: Visiting, control: Control, model: str
) -> None:
    client = await visiting("consumer")
    await subscribe(client)
    keys = "/portal/applications/shop/keys"
    made = await send(
        client, f"{keys}/new", label=HOSTILE, environment="test", scopes="predict",
        models="risk", networks="192.0.2.0/24", expires_on="2027-06-01",
    )  # fmt: skip
    secret = SECRET.search(made.text)
    assert secret is not None
    found = (await control.admin.get("/api/v1/keys?application=shop")).json()["items"]
    [one] = [one for one in found if one["label"] == HOSTILE]
    assert one["scopes"] == ["predict"]
    assert one["models"] == ["risk"]
    assert one["networks"] == ["192.0.2.0/24"]
    assert one["expires_at"].startswith("2027-06-01T23:59:59")
    shown = await client.get(f"{keys}/{one['id']}")
    assert "<script>alert" not in shown.text
    assert secret[1] not in shown.text

    changed = await send(client, f"{keys}/{one['id']}", label="till", expires_on="2027-06-01")
    assert changed.status_code == 303
    after = (await control.admin.get(f"/api/v1/keys/{one['id']}")).json()
    assert (after["label"], after["scopes"], after["networks"]) == ("till", None, [])
    assert after["expires_at"] == one["expires_at"]

    rotated = await send(client, f"{keys}/{one['id']}/rotate", overlap_s="3600")
    fresh = SECRET.search(rotated.text)
    assert fresh is not None
    assert fresh[1] != secret[1]
    assert (await control.admin.get(f"/api/v1/keys/{one['id']}")).json()["overlaps"]
    assert (await send(client, f"{keys}/{one['id']}/revoke")).status_code == 303
    assert (await control.admin.get(f"/api/v1/keys/{one['id']}")).json()["revoked_at"]
    assert "revoked" in (await client.get(f"{keys}/{one['id']}")).text


async def test_an_application_is_changed_and_ended(
    visiting: Visiting, control: Control, model: str
) -> None:
    client = await visiting("consumer")
    made = await send(client, "/portal/new-application", name="till", title=HOSTILE)
    assert made.headers["Location"] == "/portal/applications/till"
    assert "<script>alert" not in (await client.get("/portal/applications")).text
    again = await send(client, "/portal/new-application", name="till")
    assert "you have an application" in again.text
    place = "/portal/applications/till/settings"
    refused = await send(client, place, title="Till", origins="not an origin")
    assert refused.status_code == 422
    assert "field-origins-error" in refused.text
    saved = await send(client, place, title="Till", origins="https://a.example, https://b.example")
    assert saved.status_code == 303
    found = (await control.admin.get("/api/v1/applications/till")).json()
    assert (found["title"], found["origins"]) == (
        "Till",
        ["https://a.example", "https://b.example"],
    )
    stale = await send(client, place, title="Other", etag='"stale"')
    assert stale.status_code == 412
    assert (await send(client, "/portal/applications/till/delete")).status_code == 303
    assert (await client.get("/portal/applications/till")).status_code == 404


async def test_each_role_sees_its_own_and_is_told_what_it_may_not(
    visiting: Visiting, control: Control, model: str
) -> None:
    await application(control, "theirs", "default")
    other = await key(control, "theirs")
    consumer, auditor = await visiting("consumer"), await visiting("auditor")
    base = "/portal/applications/theirs"
    for path in (base, f"{base}/keys", f"{base}/keys/{other['id']}", f"{base}/usage"):
        assert (await consumer.get(path)).status_code == 404, path
        assert (await auditor.get(path)).status_code == 200, path
    assert "theirs" not in (await consumer.get("/portal/applications")).text
    assert "theirs" in (await auditor.get("/portal/applications?q=THEI")).text
    assert "Nothing matches" in (await auditor.get("/portal/applications?q=none")).text
    assert "Keys are for those who call" in (await auditor.get("/portal/subscribe?model=risk")).text
    assert (await (await visiting("sponsor")).get("/portal/applications")).status_code == 403


PAGES: tuple[Callable[[str], str], ...] = (
    lambda _: "/portal/applications",
    lambda name: f"/portal/applications/{name}",
    lambda name: f"/portal/applications/{name}/keys",
    lambda name: f"/portal/applications/{name}/usage",
    lambda _: "/portal/subscribe?model=risk",
    lambda _: "/portal/start",
    lambda _: "/portal/account",
)


async def test_a_page_asks_the_api_as_often_however_much_it_shows(
    visiting: Visiting, control: Control, model: str, calls: list[str]
) -> None:
    client = await visiting("consumer")
    await subscribe(client)
    before = await asked(client, calls)
    for number in range(4):
        await application(control, f"more-{number}", "robin-consumer")
        await key(control, "shop", label=f"key {number}")
        plan = {"plan": "free"}
        path = f"/api/v1/subscriptions/more-{number}/risk"
        assert (await control.admin.put(path, json=plan)).status_code == 201
    assert await asked(client, calls) == before


async def asked(client: httpx.AsyncClient, calls: list[str]) -> list[int]:
    counts = []
    for path in PAGES:
        calls.clear()
        assert (await client.get(path("shop"))).status_code == 200
        counts.append(len(calls))
    return counts


async def test_a_password_is_changed_and_a_wrong_one_is_told_beside_its_field(
    visiting: Visiting,
) -> None:
    client = await visiting("consumer")
    path = "/portal/account/password"
    wrong = await send(
        client, path, old="not the one", new="another long one", again="another long one"
    )
    assert "field-old-error" in wrong.text
    short = await send(client, path, old=PASSWORD, new="short", again="short")
    assert "field-new-error" in short.text
    differ = await send(client, path, old=PASSWORD, new="another long one", again="another")
    assert "field-again-error" in differ.text
    done = await send(client, path, old=PASSWORD, new="another long one", again="another long one")
    assert done.status_code == 303


async def test_sessions_end_and_tokens_are_shown_once(visiting: Visiting, control: Control) -> None:
    client, other = await visiting("publisher"), await visiting(None)
    await log_in(other, "robin-publisher")
    page = (await client.get("/portal/account")).text
    [theirs] = re.findall(r"/portal/account/sessions/([\w-]+)/end\"", page)
    assert (await send(client, f"/portal/account/sessions/{theirs}/end")).status_code == 303
    assert (await other.get("/portal/account")).status_code == 303
    made = await send(client, "/portal/account/tokens", label="laptop", role="consumer")
    secret = SECRET.search(made.text)
    assert secret is not None
    shown = (await client.get("/portal/account")).text
    assert "laptop" in shown
    assert secret[1] not in shown
    [token] = re.findall(r"/portal/account/tokens/([\w-]+)/revoke", shown)
    assert (await send(client, f"/portal/account/tokens/{token}/revoke")).status_code == 303
    assert "revoked" in (await client.get("/portal/account")).text
    ended = await send(client, "/portal/account/sessions/end")
    assert ended.headers["Location"] == "/portal/login"
