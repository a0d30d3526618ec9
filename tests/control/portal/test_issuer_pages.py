"""The operator's forms of identity providers."""

import re

import pytest

from control.identity.issuers import Issuer
from control.portal.forms import Form
from control.portal.issuer_forms import LABELS, body_of, texts, typed_texts
from tests.control.portal.conftest import Visiting, filled, filled_of
from tests.control.running import Control

PATH = "/portal/operate/issuers"
NEW = "/portal/operate/new-issuer"
HOSTILE = '"><img src=x onerror=alert(1)>'
FORM = {
    "name": "shop",
    "title": HOSTILE,
    "issuer": "https://login.example/realms/shop",
    "jwks_uri": "https://login.example/realms/shop/certs",
    "audiences": "tollway\r\nother",
    "algorithms": "ES256",
    "application_claim": "azp",
    "applications": "a=b = web-shop\r\n7d4c = till",
    "scope_claim": "scope",
    "scopes": "model.call = predict",
    "role_claim": "groups",
    "roles": "ops = auditor",
    "leeway_s": "10",
    "max_lifetime_s": "3600",
}


async def test_an_identity_provider_is_made_and_comes_back_into_its_form(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    made = await admin.post(NEW, data={**await filled(admin, NEW, NEW), **FORM})
    assert made.status_code == 303, made.text
    held = (await control.admin.get("/api/v1/issuers/shop")).json()
    assert held["audiences"] == ["other", "tollway"]
    assert held["applications"] == {"a=b": "web-shop", "7d4c": "till"}
    assert (held["scopes"], held["roles"]) == ({"model.call": "predict"}, {"ops": "auditor"})
    assert (held["leeway_s"], held["max_lifetime_s"]) == (10, 3600)
    listed = await admin.get(PATH)
    assert f'href="{PATH}/shop/edit"' in listed.text
    assert HOSTILE not in listed.text

    again = await admin.post(NEW, data={**await filled(admin, NEW, NEW), **FORM})
    assert again.status_code == 412
    assert "there is an identity provider of this name already" in again.text

    edit = f"{PATH}/shop/edit"
    page = (await admin.get(edit)).text
    assert "a=b = web-shop" in page
    assert 'value="ES256" checked' in page
    unchanged = await admin.post(edit, data={**await filled(admin, edit), **FORM})
    assert unchanged.status_code == 303, unchanged.text
    assert (await control.admin.get("/api/v1/issuers/shop")).json() == held


async def test_what_the_api_refuses_of_one_stands_beside_its_field(visiting: Visiting) -> None:
    admin = await visiting("admin")
    form = {**await filled(admin, NEW, NEW), **FORM}
    wrong = {"leeway_s": "much", "audiences": "", "roles": "ops = king"}
    refused = await admin.post(NEW, data={**form, **wrong})
    assert refused.status_code == 422
    for field in ("leeway_s", "audiences", "roles"):
        assert f'id="field-{field}-error"' in refused.text, field
    assert "ops = king" in refused.text
    alone = await admin.post(NEW, data={**form, "role_claim": ""})
    assert alone.status_code == 422
    assert "role_claim and roles belong together" in alone.text


async def test_lines_of_a_mapping_that_are_none_are_named(visiting: Visiting) -> None:
    admin = await visiting("admin")
    form = {**await filled(admin, NEW, NEW), **FORM}
    applications = "a = shop\r\n\r\nshop\r\na = till\r\n = till"
    refused = await admin.post(NEW, data={**form, "applications": applications, "roles": "ops ="})
    assert refused.status_code == 422
    assert (
        "line 3: write “value = meaning”, not “shop”; line 4: “a” is mapped in line 1 already; "
        "line 5: write “value = meaning”, not “= till”"
    ) in refused.text
    assert "line 1: write “value = meaning”, not “ops =”" in refused.text
    assert 'id="field-applications-error"' in refused.text
    assert 'id="field-roles-error"' in refused.text
    assert "must have at least 1 character" not in refused.text


async def test_addresses_that_are_none_are_refused_beside_their_field(visiting: Visiting) -> None:
    admin = await visiting("admin")
    form = {**await filled(admin, NEW, NEW), **FORM}
    for field in ("issuer", "jwks_uri"):
        refused = await admin.post(NEW, data={**form, field: "not a url"})
        assert refused.status_code == 422
        assert f'id="field-{field}-error"' in refused.text, field
        assert "not an https URL" in refused.text


async def test_the_list_says_what_values_of_claims_mean(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    await admin.post(NEW, data={**await filled(admin, NEW, NEW), **FORM})
    listed = (await admin.get(PATH)).text
    assert "claim azp: 7d4c is till, a=b is web-shop" in listed
    assert "claim scope: model.call is predict" in listed
    many = "\r\n".join(f"client-{at:02} = till" for at in range(23))
    edit = f"{PATH}/shop/edit"
    changed = {**await filled(admin, edit), **FORM, "applications": many}
    assert (await admin.post(edit, data=changed)).status_code == 303
    assert "client-19 is till and 3 more" in (await admin.get(PATH)).text
    await admin.post(edit, data={**await filled(admin, edit), **FORM, "applications": ""})
    assert "claim azp: its value is the application" in (await admin.get(PATH)).text


async def test_two_administrators_do_not_write_over_each_other(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    await admin.post(NEW, data={**await filled(admin, NEW, NEW), **FORM})
    edit, end = f"{PATH}/shop/edit", f"{PATH}/shop/delete"
    mine = {**await filled(admin, edit), **FORM, "title": "Mine"}
    ending = await filled(admin, end, edit)
    control.clock.advance(1)
    held = (await control.admin.get("/api/v1/issuers/shop")).json()
    terms = {name: held[name] for name in LABELS} | {"leeway_s": 77}
    assert (await control.admin.put("/api/v1/issuers/shop", json=terms)).is_success

    late = await admin.post(edit, data=mine)
    assert late.status_code == 412
    assert "Clock difference (s)" in late.text
    assert 'name="leeway_s" type="number" value="77"' in late.text
    assert 'value="Mine"' in late.text
    assert (await admin.post(end, data=ending)).status_code == 409
    over = re.search(r'name="over" type="checkbox" value="([^"]+)"', late.text)
    assert over is not None
    mine |= {**filled_of(late.text, edit), "leeway_s": "77", "over": over[1].replace("&#34;", '"')}
    assert (await admin.post(edit, data=mine)).status_code == 303
    ending = await filled(admin, end, edit)
    assert (await admin.post(end, data=ending)).status_code == 303
    assert (await control.admin.get("/api/v1/issuers/shop")).status_code == 404


@pytest.mark.parametrize("role", ["auditor", "publisher", "consumer", "sponsor"])
async def test_only_administrators_change_identity_providers(visiting: Visiting, role: str) -> None:
    visitor = await visiting(role)
    token = (await filled(visitor, "/portal/logout", "/portal"))["csrf"]
    listed = await visitor.get(PATH)
    assert listed.status_code == (200 if role == "auditor" else 403)
    assert NEW not in listed.text
    for path in (NEW, f"{PATH}/shop/edit"):
        assert (await visitor.get(path)).status_code == 403
        assert (await visitor.post(path, data={"csrf": token, **FORM})).status_code == 403
    assert (await visitor.post(f"{PATH}/shop/delete", data={"csrf": token})).status_code == 403


def test_what_a_form_shows_is_what_it_sends() -> None:
    sent = body_of(Form(list(FORM.items())))
    known = Issuer(name="shop", created_at="", updated_at="", **sent)
    shown = texts(known)
    assert shown == typed_texts(Form(list(shown.items())))
    again = body_of(Form([*shown.items()]))
    assert Issuer(name="shop", created_at="", updated_at="", **again) == known
