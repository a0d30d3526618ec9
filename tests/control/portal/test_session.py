"""Who gets in, and that nobody acts in another's name."""

import re
from http.cookies import SimpleCookie

import httpx
import pytest
from fastapi import Request
from fastapi.routing import iter_route_contexts

from control.portal.api import Api, ApiRefusal
from control.portal.navigation import ENTRIES
from control.portal.session import SAFE, local_path
from registry.access import EVERYONE, Role
from tests.control.portal.conftest import PASSWORD, Visiting, log_in, token_of
from tests.control.running import Control, connect

PUBLIC = {
    "/portal",
    "/portal/models",  # leads to the front page
    "/portal/login",
    "/portal/sign-up",
    "/portal/logout",
    "/portal/assets/{digest}/{name}",
    "/portal/reference",
    "/portal/reference/api/{tag}",
    "/portal/subscribe",  # leads to the sign-up, and back
}
"""Paths that answer without a login."""
BY_SETTING = {
    "/portal/models/{model}",
    "/portal/models/{model}/try",
    "/portal/models/{model}/openapi.json",
    "/portal/models/{model}/latency.json",
    "/portal/models/{model}/latency/events",
    "/portal/reference/models/{model}",
}
"""Paths that do where the catalogue is public, and lead to the login page where it is not."""


def portal_routes(control: Control) -> list[tuple[str, str]]:
    """(method, path template) of every page."""
    found = [
        (method, context.path or "")
        for context in iter_route_contexts(control.app.routes)
        for method in sorted(context.methods or ())
        if (context.path or "").startswith("/portal")
    ]
    assert found
    return found


def filled(template: str) -> str:
    return re.sub(r"\{(\w+)(:\w+)?\}", "1", template)


async def test_every_page_that_is_not_declared_public_needs_a_login(control: Control) -> None:
    for method, template in portal_routes(control):
        if template in PUBLIC or method not in SAFE:
            continue
        answer = await control.anonymous.request(method, filled(template))
        assert answer.status_code == 303, template
        assert answer.headers["Location"].startswith("/portal/login"), template


async def test_every_page_that_changes_something_refuses_what_has_no_token(
    control: Control, visiting: Visiting
) -> None:
    admin = await visiting("admin")
    for method, template in portal_routes(control):
        if method in SAFE:
            continue
        for headers in ({}, {"X-CSRF-Token": "0" * 64}):
            answer = await admin.request(method, filled(template), headers=headers)
            assert answer.status_code == 403, template


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ],
)
async def test_another_sites_form_is_refused_even_with_the_token(
    visiting: Visiting, headers: dict[str, str]
) -> None:
    client = await visiting("consumer")
    token = await token_of(client)
    answer = await client.post("/portal/logout", data={"csrf": token}, headers=headers)
    assert answer.status_code == 403
    assert "from another site" in answer.text
    assert "Log out" in (await client.get("/portal")).text


async def test_a_token_of_one_session_does_not_work_in_another(visiting: Visiting) -> None:
    one, other = await visiting("consumer"), await visiting("publisher")
    answer = await other.post("/portal/logout", data={"csrf": await token_of(one)})
    assert answer.status_code == 403


async def test_nobody_is_logged_in_unseen(visiting: Visiting) -> None:
    """A login form of another site would put the victim into the attacker's account."""
    await visiting("consumer")
    attacker, victim = await visiting(None), await visiting(None)
    token = await token_of(attacker, "/portal/login")
    form = {"csrf": token, "name": "robin-consumer", "password": PASSWORD}
    assert (await victim.post("/portal/login", data=form)).status_code == 403


async def test_a_browser_may_call_itself_what_it_likes(visiting: Visiting) -> None:
    headers = {"user-agent": "caf\xe9".encode("latin-1"), "accept-language": b"\xff"}
    answer = await (await visiting("consumer")).get("/portal", headers=headers)
    assert answer.status_code == 200


async def test_the_session_cookie_is_for_the_portal_and_no_script(visiting: Visiting) -> None:
    await visiting("consumer")
    client = await visiting(None)
    answer = await log_in(client, "robin-consumer")
    cookies: SimpleCookie = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        cookies.load(line)
    session = cookies["tollway_session"]
    assert session["httponly"]
    assert not session["secure"]
    assert session["samesite"] == "lax"
    assert session["path"] == "/portal"
    assert 0 < int(session["max-age"]) <= 7 * 24 * 3600


async def test_over_tls_every_cookie_is_secure(visiting: Visiting) -> None:
    await visiting("consumer")
    client = await visiting(None)
    client.headers["X-Forwarded-Proto"] = "https"
    before = await client.get("/portal/login")
    token = re.search(r'name="csrf" value="(\w+)"', before.text)
    assert token is not None
    # The client keeps no Secure cookie of a plain address: it is sent by hand.
    client.headers["Cookie"] = before.headers["set-cookie"].partition(";")[0]
    form = {"csrf": token[1], "name": "robin-consumer", "password": PASSWORD}
    entered = await client.post("/portal/login", data=form)
    assert entered.status_code == 303
    given = [one for one in entered.headers.get_list("set-cookie") if "Max-Age=0" not in one]
    assert given
    assert all("; Secure" in one for one in [*given, before.headers["set-cookie"]])


async def test_the_api_reads_no_cookie(control: Control, visiting: Visiting) -> None:
    client = await visiting("admin")
    secret = client.cookies["tollway_session"]
    answer = await control.anonymous.get(
        "/api/v1/users/me", headers={"Cookie": f"tollway_session={secret}"}
    )
    assert answer.status_code == 401


async def test_logging_out_ends_the_session_itself(control: Control, visiting: Visiting) -> None:
    client = await visiting("consumer")
    secret = client.cookies["tollway_session"]
    answer = await client.post("/portal/logout", data={"csrf": await token_of(client)})
    assert answer.status_code == 303
    async with connect(control.app, secret) as api:
        assert (await api.get("/api/v1/users/me")).status_code == 401
    assert "tollway_session" not in client.cookies


async def test_a_session_that_has_ended_leads_to_the_login_page(
    control: Control, visiting: Visiting
) -> None:
    client = await visiting("consumer")
    await control.admin.delete("/api/v1/sessions", params={"user": "robin-consumer"})
    answer = await client.get("/portal/models/none")
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/portal/login?next=%2Fportal%2Fmodels%2Fnone"


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_form_of_a_session_that_has_ended_says_so_and_leads_back_to_it(
    control: Control, visiting: Visiting, elsewhere: bool
) -> None:
    client = await visiting("consumer")
    token = await token_of(client)
    if elsewhere:  # in another browser: this one still has its cookie
        await control.admin.delete("/api/v1/sessions", params={"user": "robin-consumer"})
    else:  # in another tab
        await client.post("/portal/logout", data={"csrf": token})
        await client.get("/portal/login")
    headers = {"Referer": "http://portal/portal/applications/new?x=1"}
    for more in ({}, {"HX-Request": "true"}):
        answer = await client.post(
            "/portal/new-application", data={"csrf": token}, headers=headers | more
        )
        assert answer.status_code == 403
        assert "Your session has ended" in answer.text
        assert "Nothing was changed." in answer.text
        assert 'href="/portal/login?next=%2Fportal%2Fapplications%2Fnew%3Fx%3D1"' in answer.text
        if elsewhere:
            break  # the answer has taken the cookie


async def test_logging_in_leads_back_to_where_one_wanted_to_be(visiting: Visiting) -> None:
    await visiting("consumer")
    client = await visiting(None)
    answer = await log_in(client, "robin-consumer", next="/portal/models/risk?x=1")
    assert answer.headers["Location"] == "/portal/models/risk?x=1"


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://elsewhere.example/portal",
        "//elsewhere.example/portal",
        "/\\elsewhere.example",
        "/portal\\@elsewhere.example",
        "javascript:alert(1)",
        "/api/v1/sessions",
        "/portalx",
        "/portal\r\nSet-Cookie: a=b",
        "",
    ],
)
def test_next_leads_to_no_other_place(elsewhere: str) -> None:
    assert local_path(elsewhere) == "/portal"


async def test_logins_are_limited_for_the_visitors_address(
    control: Control, visiting: Visiting
) -> None:
    await visiting("consumer")
    client = await visiting(None)
    answers = [await log_in(client, "robin-consumer", "wrong") for _ in range(4)]
    assert {answer.status_code for answer in answers[:-1]} == {401}
    assert answers[-1].status_code == 429
    assert "come back in" in answers[-1].text


async def test_refusals_of_a_form_are_shown_beside_its_fields(visiting: Visiting) -> None:
    client = await visiting(None)
    token = await token_of(client, "/portal/sign-up")
    form = {"csrf": token, "name": "new", "password": PASSWORD, "email": "none", "title": "Neu"}
    answer = await client.post("/portal/sign-up", data=form)
    assert answer.status_code == 422
    assert 'aria-invalid="true" aria-describedby="field-email-error' in answer.text
    assert 'value="Neu"' in answer.text
    assert PASSWORD not in answer.text


async def test_roles_see_the_ways_that_they_may_go(visiting: Visiting) -> None:
    ways: dict[str | None, set[str]] = {}
    for role in (None, "consumer", "publisher", "sponsor", "auditor", "admin"):
        text = (await (await visiting(role)).get("/portal")).text
        nav = text.partition('<nav class="nav"')[2].partition("</nav>")[0]
        ways[role] = set(re.findall(r'href="/portal/?(\w*)"', nav))
    assert ways[None] == {"", "reference"}
    assert ways["consumer"] == {"", "reference", "applications", "webhooks"}
    assert "publish" in ways["publisher"]
    assert "operate" not in ways["publisher"]
    assert ways["sponsor"] == {"", "reference", "approvals"}
    assert "operate" in ways["auditor"]
    assert ways["admin"] >= ways["publisher"] | {"operate", "approvals"}


@pytest.mark.parametrize("role", EVERYONE)
async def test_what_the_navigation_leaves_out_is_refused(visiting: Visiting, role: Role) -> None:
    visitor = await visiting(role)
    for entry in ENTRIES:
        shown = entry.roles is None or role in entry.roles
        answer = await visitor.get(entry.path)
        assert answer.status_code == (200 if shown else 403), entry.path


async def test_no_page_holds_the_sessions_secret(visiting: Visiting) -> None:
    client = await visiting("admin")
    secret = client.cookies["tollway_session"]
    for path in ("/portal", "/portal?q=x", "/portal/models/none", "/portal/nothing"):
        answer = await client.get(path)
        assert secret not in answer.text
        assert secret not in str(answer.url)


async def test_a_page_says_what_is_refused_and_htmx_gets_a_notice(visiting: Visiting) -> None:
    client = await visiting("consumer")
    whole = await client.get("/portal/models/none")
    part = await client.get("/portal/models/none", headers={"HX-Request": "true"})
    for answer in (whole, part):
        assert answer.status_code == 404
        assert "there is no model &#39;none&#39;" in answer.text
    assert "<html" in whole.text
    assert "<html" not in part.text
    assert part.headers["HX-Retarget"] == "#notices"


async def test_the_root_leads_to_the_portal(control: Control) -> None:
    answer: httpx.Response = await control.anonymous.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (307, "/portal")


async def test_who_logs_in_again_after_their_session_has_ended_gets_in(
    control: Control, visiting: Visiting
) -> None:
    client = await visiting("consumer")
    await control.admin.delete("/api/v1/sessions", params={"user": "robin-consumer"})
    assert (await log_in(client, "robin-consumer")).status_code == 303
    assert (await client.get("/portal/account")).status_code == 200


@pytest.mark.parametrize("name", ["../../../metrics", "..", ".", "x" * 3000])
async def test_a_name_leads_nowhere_but_below_the_api(control: Control, name: str) -> None:
    """``/metrics`` asks for no credential: it is not for people."""
    request = Request({"type": "http", "headers": [], "app": control.app, "client": None})
    with pytest.raises(ApiRefusal) as refused:
        await Api(request, None).call("GET", f"/models/{name}")
    assert refused.value.status == 404


@pytest.mark.parametrize("name", ["a?b", "a#b", "a%2Fb", "a b", "\n", "é"])
def test_names_are_quoted_in_paths(control: Control, name: str) -> None:
    request = Request({"type": "http", "headers": [], "app": control.app, "client": None})
    url = Api(request, None).request("GET", f"/models/{name}").url
    assert (url.path, url.query) == (f"/api/v1/models/{name}", b"")
