"""An operator looks whether all is well, adds a user, and finds it in the audit log."""

from playwright.sync_api import expect

from tests.browser.conftest import Visitor


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
