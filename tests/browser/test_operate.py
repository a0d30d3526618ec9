"""An operator looks whether all is well, adds a user, finds it in the audit log, and writes over
nobody."""

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import PHONE, Visitor
from tests.browser.looking import violations
from tests.browser.world import World


def test_an_operator_sees_engines_adds_a_user_and_verifies_the_log(visitor: Visitor) -> None:
    page = visitor("admin")
    page.goto("/portal/operate")
    engines = page.get_by_role("region", name="Engines")
    expect(engines.get_by_role("link", name="demand-forecast")).to_be_visible()
    expect(page.get_by_role("region", name="Gateways")).to_contain_text("up to date")

    views = page.get_by_role("navigation", name="Operate")
    views.get_by_role("link", name="Users").click()
    page.get_by_role("link", name="Add a user").click()
    page.get_by_label("Name", exact=True).fill("nightingale")
    page.get_by_label("Publisher").check()
    page.get_by_role("button", name="Add the user").click()
    expect(page.get_by_text("it is not shown again")).to_be_visible()

    page.goto("/portal/operate/audit")
    page.get_by_role("searchbox", name="Search for a text").fill("nightingale")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name="user.created")).to_have_count(1)
    page.get_by_role("button", name="Verify now").click()
    expect(page.get_by_text("Intact up to entry")).to_be_visible()


def test_a_person_is_shown_what_another_has_changed_and_decides(
    visitor: Visitor, world: World, screens: Path
) -> None:
    page = visitor("admin", refused=True)
    page.goto("/portal/operate/users/robin-consumer")
    page.get_by_label("Full name").fill("Robin the Consumer")
    with world.api() as admin:
        body = {"title": "Robin, Consumer", "email": "robin@example.com"}
        admin.put("/api/v1/users/robin-consumer", json=body).raise_for_status()
    page.get_by_role("button", name="Save").click()
    told = page.get_by_role("alert")
    expect(told).to_contain_text("It has changed meanwhile: nothing was saved.")
    expect(told).to_contain_text("Robin, Consumer")
    expect(page.get_by_label("Full name")).to_have_value("Robin the Consumer")
    expect(page.get_by_label("E-mail address")).to_have_value("robin@example.com")
    assert violations(page) == []
    for device, size in (("desktop", (1280, 900)), ("phone", PHONE)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.screenshot(path=screens / f"admin-overtaken-light-{device}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

    page.get_by_role("button", name="Save").click()
    expect(told).to_be_visible()
    page.get_by_label("Put what this form says in place of the present state").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Robin the Consumer")
