"""The operator's pages of users, plans, subscriptions, consumers and settings."""

import re

import pytest

from control.store.tables import subscriptions
from tests.control.portal.conftest import Visiting, hidden, log_in, token_of
from tests.control.running import Control

HOSTILE = '"><img src=x onerror=alert(1)>'
PAGES = (
    "users", "users/robin-admin", "plans", "plans/free", "consumers", "subscriptions", "issuers",
    "settings", "audit", "audit/entries/1",
)  # fmt: skip


@pytest.mark.parametrize("role", ["publisher", "sponsor", "consumer"])
async def test_only_admins_and_auditors_see_the_operators_pages(
    visiting: Visiting, role: str
) -> None:
    client = await visiting(role)
    for path in PAGES:
        assert (await client.get(f"/portal/operate/{path}")).status_code == 403, path


async def test_auditors_read_every_page_and_see_nothing_that_changes_anything(
    control: Control, visiting: Visiting
) -> None:
    await visiting("admin")
    auditor = await visiting("auditor")
    await waiting(control)
    for path in PAGES:
        answer = await auditor.get(f"/portal/operate/{path}")
        assert answer.status_code == 200, path
        forms = set(re.findall(r'<form[^>]*method="post"[^>]*action="([^"]+)"', answer.text))
        # Logging out, and reading the log once more, change nothing that is anybody else's.
        assert forms <= {"/portal/logout", "/portal/operate/audit/verify"}, path
    token = await token_of(auditor)
    for path in ("new-plan", "users/robin-admin/password", "users/robin-admin/disabled"):
        sent = await auditor.post(f"/portal/operate/{path}", data={"csrf": token})
        assert sent.status_code == 403, path


async def test_a_user_is_added_with_a_password_that_is_shown_once_and_works(
    visiting: Visiting,
) -> None:
    admin = await visiting("admin")
    form = {"csrf": await token_of(admin), "name": "ines", "title": HOSTILE, "role": "publisher"}
    made = await admin.post("/portal/operate/new-user", data=form)

    secret = re.search(r'<code id="password">([^<]+)</code>', made.text)
    assert made.status_code == 200
    assert secret is not None
    assert HOSTILE not in made.text
    assert "&lt;img src=x" in made.text
    assert made.headers["cache-control"] == "no-store"
    assert secret[1] not in (await admin.get("/portal/operate/users/ines")).text
    assert (await log_in(await visiting(None), "ines", secret[1])).status_code == 303


async def test_a_password_that_is_reset_ends_sessions_and_is_shown_once(
    visiting: Visiting,
) -> None:
    admin, publisher = await visiting("admin"), await visiting("publisher")
    path = "/portal/operate/users/robin-publisher"
    assert "Not logged in anywhere" not in (await admin.get(path)).text
    reset = await admin.post(f"{path}/password", data={"csrf": await token_of(admin)})

    assert reset.status_code == 200
    assert 'id="password"' in reset.text
    assert "Not logged in anywhere" in (await admin.get(path)).text
    assert (await publisher.get("/portal/account")).status_code != 200


async def test_what_the_api_refuses_of_a_user_stands_beside_the_field(visiting: Visiting) -> None:
    admin = await visiting("admin")
    form = {"csrf": await token_of(admin), "name": "ines", "role": "publisher", "email": "nowhere"}
    refused = await admin.post("/portal/operate/new-user", data=form)

    assert refused.status_code == 422
    assert 'id="field-email-error"' in refused.text
    assert 'value="ines"' in refused.text


async def test_users_are_found_by_any_of_their_texts_and_by_role(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    for name, title in (("ada", "Ada 100%"), ("bob", "Bob")):
        body = {"role": "publisher", "title": title, "email": f"{name}@example.com"}
        await control.admin.put(f"/api/v1/users/{name}", json=body)

    async def names(query: str) -> set[str]:
        text = (await admin.get(f"/portal/operate/users?{query}")).text
        return set(re.findall(r'href="/portal/operate/users/([a-z-]+)"', text))

    assert await names("q=100%25") == {"ada"}
    assert await names("q=BOB%40") == {"bob"}
    assert await names("role=admin") == {"robin-admin"}
    assert await names("q=nobody") == set()


async def test_a_model_is_granted_and_taken_back(control: Control, visiting: Visiting) -> None:
    admin = await visiting("admin")
    await visiting("publisher")
    await control.admin.put("/api/v1/models/risk", json={})
    path, token = "/portal/operate/users/robin-publisher", await token_of(admin)

    granted = await admin.post(f"{path}/grants", data={"csrf": token, "model": "risk"})
    assert granted.status_code == 303
    assert "/portal/models/risk" in (await admin.get(path)).text
    unknown = await admin.post(f"{path}/grants", data={"csrf": token, "model": "none"})
    assert unknown.status_code == 404
    assert 'role="alert"' in unknown.text
    await admin.post(f"{path}/grants/remove", data={"csrf": token, "model": "risk"})
    assert "/portal/models/risk" not in (await admin.get(path)).text


PLAN = {
    "name": "gold", "title": "Gold", "rate_name_0": "minute", "rate_requests_0": "600",
    "rate_window_0": "60", "rate_burst_0": "", "quota_limit": "100000", "quota_unit": "rows",
    "quota_period": "month", "price": "1.50", "currency": "eur", "concurrency": "20",
    "approval": "publisher", "fail_mode": "open", "scopes": "predict",
}  # fmt: skip


async def test_a_plan_is_made_and_comes_back_into_its_form(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    made = await admin.post(
        "/portal/operate/new-plan", data={"csrf": await token_of(admin), **PLAN}
    )
    assert made.status_code == 303, made.text

    plan = (await control.admin.get("/api/v1/plans/gold")).json()
    assert plan["rates"] == [{"name": "minute", "requests": 600, "window_s": 60, "burst": None}]
    assert plan["quota"] == {"limit": 100000, "unit": "rows", "period": "month"}
    assert plan["price_per_thousand"] == {"amount": "1.50", "currency": "EUR"}
    assert (plan["approval"], plan["fail_mode"], plan["scopes"]) == (
        "publisher",
        "open",
        ["predict"],
    )
    page = (await admin.get("/portal/operate/plans/gold/edit")).text
    form = dict(re.findall(r'name="([a-z_0-9]+)" type="\w+" value="([^"]*)"', page))
    held = hidden(page)
    assert form["rate_requests_0"] == "600"
    assert form["currency"] == "EUR"

    await control.admin.put("/api/v1/plans/gold", json={"title": "Changed"})
    lost = await admin.post(
        "/portal/operate/plans/gold/edit",
        data={**held, **PLAN},
    )
    assert lost.status_code == 412
    assert "It has changed meanwhile" in lost.text


async def test_what_the_api_refuses_of_a_plan_stands_beside_the_field(visiting: Visiting) -> None:
    admin = await visiting("admin")
    form = {"csrf": await token_of(admin), **PLAN, "rate_requests_0": "many", "price": "cheap"}
    refused = await admin.post("/portal/operate/new-plan", data=form)

    assert refused.status_code == 422
    assert 'id="field-rate_requests_0-error"' in refused.text
    assert 'id="field-price-error"' in refused.text


async def waiting(control: Control) -> None:
    for path, body in (
        ("plans/gold", {"approval": "publisher"}),
        ("models/risk", {}),
        ("users/carl", {"role": "consumer", "password": "correct horse battery"}),
        ("applications/shop", {"consumer": "carl"}),
    ):
        answer = await control.admin.put(f"/api/v1/{path}", json=body)
        assert answer.is_success, answer.text
    with control.services.database.write() as connection:
        row = {"application": "shop", "model": "risk", "plan": "gold", "state": "pending"}
        times = {"created_ms": control.clock(), "updated_ms": control.clock()}
        connection.execute(subscriptions.insert().values(**row, **times))


async def test_a_subscription_that_waits_is_approved_or_refused_with_a_reason(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    await waiting(control)
    path, token = "/portal/operate/subscriptions", await token_of(admin)
    assert "shop" in (await admin.get(path)).text

    form = {"csrf": token, "plan": "gold", "reason": ""}
    other = await admin.post(f"{path}/shop/risk/approve", data={**form, "plan": "free"})
    assert other.status_code == 409
    assert "shop asks for gold on risk by now: nothing was decided" in other.text
    unsaid = await admin.post(f"{path}/shop/risk/refuse", data=form)
    assert unsaid.status_code == 422
    assert 'role="alert"' in unsaid.text
    done = await admin.post(f"{path}/shop/risk/approve", data={**form, "reason": "fine"})
    assert done.status_code == 303
    assert "Nothing is waiting" in (await admin.get(path)).text
    assert "shop" in (await admin.get("/portal/operate/plans/gold")).text


async def test_settings_are_shown_without_secrets(control: Control, visiting: Visiting) -> None:
    admin = await visiting("admin")
    text = (await admin.get("/portal/operate/settings")).text

    assert "TOLLWAY_USAGE_MINUTES_DAYS" in text
    assert "usage is kept by minute" in text
    for path in (control.settings.admin_token_path, control.settings.key_pepper_path):
        assert path.read_text().strip() not in text


async def test_a_password_in_the_databases_address_is_not_shown(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = control.settings.model_copy(
        update={"database_url": "postgresql+psycopg://tollway:p@ss/w0rd@db.internal/tollway"}
    )
    services = control.services._replace(settings=told)
    monkeypatch.setattr(control.app.state, "services", services)
    answer = await control.admin.get("/api/v1/settings")

    assert answer.json()["database"] == "postgresql"
    assert "w0rd" not in answer.text
    assert "tollway:***@db.internal" in answer.text


async def test_a_word_that_is_no_decision_decides_nothing(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    await waiting(control)
    path, token = "/portal/operate/subscriptions", await token_of(admin)
    done = await admin.post(f"{path}/shop/risk/aprove", data={"csrf": token, "reason": "fine"})
    assert done.status_code == 422
    assert "shop" in (await admin.get(path)).text
