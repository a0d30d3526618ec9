"""Pages that move by themselves, in several tabs of one browser."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import WITHIN_MS, Visitor, log_in, watch
from tests.browser.world import World

OPERATE = "/portal/operate"
TABS = 8
"""More than the connections that a browser has for one host."""
HELD = """async () => (await navigator.locks.query()).held
    .filter((one) => one.name.startsWith("tollway-live-")).length"""
HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def wait_for_held(page: Page, count: int) -> None:
    page.wait_for_function(f"({HELD})().then((held) => held === {count})", timeout=WITHIN_MS)


def tab(context: BrowserContext, complaints: list[str], path: str = OPERATE) -> Page:
    page = context.new_page()
    watch(page, complaints, ())
    page.goto(path, timeout=WITHIN_MS)
    return page


def test_many_live_tabs_leave_room_for_every_other_page(
    complaints: list[str], visitor: Visitor
) -> None:
    first = visitor("admin")
    first.goto(OPERATE)
    context = first.context
    tabs = [first] + [tab(context, complaints) for _ in range(TABS - 1)]
    for page in tabs:
        expect(page.get_by_role("heading", name="Operate")).to_be_visible()
    wait_for_held(first, 3)
    # The last one is live too, more slowly: it asks, and is answered.
    with tabs[-1].expect_response(lambda one: one.url.endswith("/operate/events")) as asked:
        tabs[-1].reload()
    assert asked.value.request.headers["prefer"] == "wait=0"
    tab(context, complaints, "/portal/account").close()

    for page in tabs:
        page.evaluate(HIDE, True)
    wait_for_held(first, 0)
    first.evaluate(HIDE, False)
    wait_for_held(first, 1)


def test_a_tab_says_that_its_session_has_ended_in_another_and_asks_no_more(
    world: World, complaints: list[str], visitor: Visitor
) -> None:
    first = visitor(None)
    log_in(first, "robin-publisher")
    expect(first.get_by_role("button", name="Log out")).to_be_visible()
    watching = tab(first.context, complaints, "/portal/approvals")
    expect(watching.get_by_text("Live", exact=True)).to_be_visible()
    first.get_by_role("button", name="Log out").click()
    notice = watching.get_by_role("alert")
    expect(notice).to_have_text("Your session has ended. Log in again.")
    expect(watching.get_by_text("Not live", exact=True)).to_be_visible()
    wait_for_held(watching, 0)
    notice.get_by_role("link").click()
    expect(watching).to_have_url(f"{world.url}/portal/login?next=%2Fportal%2Fapprovals")
