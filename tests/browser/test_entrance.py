"""People come in and go out, as they do in a browser."""

from playwright.sync_api import expect

from tests.browser.conftest import Visitor, log_in
from tests.browser.world import HOSTILE, PASSWORD


def test_somebody_signs_up_logs_out_and_logs_in(visitor: Visitor) -> None:
    page = visitor(None, refused=True)
    page.goto("/")
    page.get_by_role("link", name="Make an account").click()
    page.get_by_label("Name", exact=True).fill("newcomer")
    page.get_by_label("Full name").fill("New Comer")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_text("Your account is ready.")).to_be_visible()
    expect(page.get_by_role("heading", name="Demand forecast")).to_be_visible()

    [cookie] = [one for one in page.context.cookies(f"{page.url}") if "session" in one["name"]]
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    assert cookie["path"] == "/portal"
    assert cookie["value"] not in page.content()

    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("You are logged out.")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("button", name="Log out")).to_have_count(0)

    page.goto("/portal/models/demand-forecast")
    page.get_by_label("Name").fill("newcomer")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Demand forecast")).to_be_visible()


def test_a_wrong_password_is_told_and_the_name_stays(visitor: Visitor) -> None:
    page = visitor(None, refused=True)
    log_in(page, "robin-consumer", "not the password")
    expect(page.get_by_role("alert")).to_contain_text("the name or the password is wrong")
    expect(page.get_by_label("Name")).to_have_value("robin-consumer")


def test_hostile_texts_are_shown_and_never_run(visitor: Visitor) -> None:
    page = visitor("consumer")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    for path in ("/portal", "/portal/models/hostile"):
        page.goto(path)
        expect(page.get_by_role("heading", name=HOSTILE)).to_be_visible()
    page.goto("/portal")
    page.get_by_role("searchbox").fill(f"nothing {HOSTILE}")
    expect(page.get_by_role("heading", name="Nothing matches")).to_contain_text(HOSTILE)
    assert dialogs == []


def test_the_search_answers_while_one_types(visitor: Visitor) -> None:
    page = visitor("consumer")
    page.goto("/portal")
    page.get_by_role("searchbox").fill("forecast")
    expect(page.locator("#catalogue a.card")).to_have_count(1)
    expect(page).to_have_url("/portal?q=forecast")


def test_the_portal_is_used_by_keyboard_alone(visitor: Visitor) -> None:
    page = visitor("consumer")
    page.goto("/portal")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("demand")
    page.keyboard.press("Enter")
    expect(page.locator("#catalogue a.card")).to_have_count(1)
    card = page.locator("#catalogue a.card")
    for _ in range(20):  # over the filters
        page.keyboard.press("Tab")
        if card.evaluate("one => one === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page).to_have_url("/portal/models/demand-forecast")
