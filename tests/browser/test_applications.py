"""From the front page to an answer with one's own key, as a stranger goes."""

import httpx
from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.browser.world import PASSWORD, World


def test_a_stranger_gets_a_key_that_works_and_sees_its_usage(
    visitor: Visitor, world: World
) -> None:
    page = visitor(None)
    page.goto("/portal/subscribe?model=demand-forecast")
    page.get_by_label("Name", exact=True).fill("stranger")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    page.get_by_role("button", name="Get my key").click()
    secret = page.locator("#new-key").inner_text()
    page.get_by_role("link", name="Try it now").click()
    expect(page).to_have_url("/portal/models/demand-forecast/try")
    assert page.evaluate("sessionStorage.getItem('tollway.key')") == secret
    assert secret not in page.content()

    answer = httpx.get(
        f"{world.url}/v2/models/demand-forecast",
        headers={"Authorization": f"Bearer {secret}"},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    page.goto("/portal/applications/stranger-app")
    expect(page.get_by_role("heading", name="Models it may call")).to_be_visible()
    page.get_by_role("link", name="Keys", exact=True).click()
    page.get_by_role("link", name=f"{secret[:8]}").first.click()
    page.get_by_role("button", name="Revoke …").click()
    page.get_by_role("button", name="Revoke for good").click()
    expect(page.get_by_text("is revoked.")).to_be_visible()
