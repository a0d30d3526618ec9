"""People get done what they came for: from the front page to a prediction with a key of one's own,
from a new version to its rollback, each in their own rooms, and without a mouse."""

import re
import uuid
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

import tollway
from tests.browser.conftest import Visitor, log_in
from tests.browser.looking import settle
from tests.browser.world import PASSWORD, World
from tests.e2e.models import affine

MODEL = "demand-forecast"
BODY = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
TABS = 120
"""How often somebody presses the key before they give up."""


def fresh(prefix: str) -> str:
    """A name that no other test has used."""
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


def sign_up(page: Page, name: str) -> None:
    """From the front page to an account."""
    page.goto("/")
    page.get_by_role("link", name="Make an account").first.click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Make the account").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def subscribe(page: Page, application: str) -> str:
    """From the model's page to a key, which is shown once."""
    page.goto(f"/portal/models/{MODEL}")
    page.get_by_role("link", name="Subscribe", exact=True).first.click()
    page.get_by_role("radio").first.check()
    page.get_by_label(re.compile("^(Application|Name of the new application)")).last.fill(
        application
    )
    page.get_by_role("button", name="Get my key").click()
    key = page.locator("#new-key").inner_text()
    assert key.startswith("tw_")
    return key


def until_counted(page: Page, path: str, calls: int) -> None:
    """Load a page of usage again and again until it counts so many calls of the model: they arrive
    a second later, and not always together."""
    row = page.get_by_role("row").filter(has_text=MODEL)
    counted = row.get_by_role("cell").first.filter(has_text=re.compile(f"^{calls}$"))
    for _ in range(40):
        page.goto(path)
        settle(page)
        if counted.count():
            return
        page.wait_for_timeout(500)
    pytest.fail(f"{path} does not count {calls} calls")


def test_a_stranger_comes_to_a_prediction_with_a_key_of_their_own(
    visitor: Visitor, world: World
) -> None:
    page = visitor(None)
    sign_up(page, fresh("stranger"))
    application = fresh("shop")
    key = subscribe(page, application)

    page.get_by_role("link", name="Try it now").click()
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.locator("#try-answer .answer-facts")).to_contain_text("Version 1")
    page.locator("#try-answer summary").click()
    expect(page.locator("#try-answer")).to_contain_text("X-API-Key: tw_")
    assert key not in page.content()

    answer = httpx.post(
        f"{world.url}/v2/models/{MODEL}/infer",
        json=BODY,
        headers={"X-API-Key": key},
        timeout=30,
        trust_env=False,
    )
    assert answer.raise_for_status().json()["outputs"][0]["data"] == [2, 4, 6]

    path = f"/portal/applications/{application}"
    until_counted(page, f"{path}/usage?range=1h", 2)
    expect(page.get_by_text("By status").first).to_be_visible()
    page.goto(f"{path}/keys")
    expect(page.get_by_text(key[:12]).first).to_be_visible()
    assert key not in page.content()


def test_a_version_is_approved_tried_on_some_and_taken_back(visitor: Visitor, world: World) -> None:
    model = fresh("prices")
    with tollway.Client(world.url, token=world.secrets["publisher"]) as publisher:
        publisher.deploy(affine(), name=model)
        publisher.set_requirements(model, {"problem": "Fair", "sponsor": "robin-sponsor"})
        publisher.deploy(affine(), name=model, stage=True)
    mine, theirs = visitor("publisher"), visitor("sponsor")
    home = f"/portal/publish/models/{model}"

    mine.goto(f"{home}/versions/2")
    mine.get_by_role("link", name="Ask for approval").or_(
        mine.get_by_role("button", name="Ask for approval")
    ).first.click()
    mine.get_by_label("What the sponsor should know").fill("the same, and smaller")
    mine.get_by_role("button", name="Ask", exact=True).click()

    theirs.goto("/portal/approvals")
    theirs.get_by_role("link", name=re.compile(model)).first.click()
    expect(theirs.locator("main")).to_contain_text("the same, and smaller")
    theirs.get_by_label("Reason").fill("as good as before")
    theirs.get_by_role("button", name="Approve version 2").click()
    expect(theirs.locator("main")).to_contain_text("as good as before")

    mine.goto(f"{home}/versions/2")
    for step in ("Mark as approved", "Publish"):
        mine.get_by_role("button", name=step, exact=True).click()
    expect(mine.get_by_role("link", name="Rollout").last).to_be_visible()

    mine.goto(f"{home}/rollout")
    mine.get_by_role("tab", name="Set a share by hand").click()
    mine.locator("#share-percent").fill("25")
    mine.get_by_role("button", name="Set the share").click()
    expect(mine.locator(".lanes")).to_contain_text("25")

    mine.goto(f"{home}/rollout")
    mine.get_by_role("tab", name="Set stable").click()
    mine.locator("#stable-version").select_option("2")
    mine.get_by_role("button", name="Make it stable").click()
    expect(stable(mine)).to_contain_text("Version 2")

    mine.goto(f"{home}/rollout")
    mine.get_by_text("Roll back to version 1").first.click()
    mine.locator("#roll-back-reason").fill("prices jumped")
    mine.get_by_role("button", name="Roll back now").click()
    expect(stable(mine)).to_contain_text("Version 1")
    mine.goto(f"{home}/rollout")
    expect(mine.get_by_role("row").filter(has_text="prices jumped")).to_contain_text("rollback")


def stable(page: Page) -> Locator:
    """The lane of the version that answers calls which name none."""
    return page.locator(".lanes .of-stable")


ROOMS = {
    "Applications": ("admin", "publisher", "consumer", "auditor"),
    "Publish": ("admin", "publisher", "auditor"),
    "Approvals": ("admin", "publisher", "sponsor", "auditor"),
    "Operate": ("admin", "auditor"),
}
LOOKED_INTO = {("Publish", "sponsor")}
"""Rooms that a role may look into, and is not led to."""


@pytest.mark.parametrize("role", ["consumer", "publisher", "sponsor", "admin", "auditor"])
def test_a_role_is_shown_the_way_to_its_own_rooms_alone(role: str, visitor: Visitor) -> None:
    page = visitor(role, refused=True)
    page.goto("/portal")
    for room, roles in ROOMS.items():
        entry = page.get_by_role("navigation").get_by_role("link", name=room, exact=True)
        expect(entry).to_have_count(1 if role in roles else 0)
        if role not in roles and (room, role) not in LOOKED_INTO:
            page.goto(f"/portal/{room.lower()}")
            expect(page.locator("main")).to_contain_text(f"yours is {role}")
            page.goto("/portal")


def test_what_is_others_does_not_exist(visitor: Visitor) -> None:
    owner, other = visitor(None), visitor(None, refused=True)
    sign_up(owner, fresh("owner"))
    application = fresh("private")
    subscribe(owner, application)
    sign_up(other, fresh("other"))
    for path in ("", "/keys", "/usage", "/subscriptions"):
        answer = other.goto(f"/portal/applications/{application}{path}")
        assert answer is not None
        assert answer.status == 404
    other.goto("/portal/applications")
    expect(other.locator("main")).not_to_contain_text(application)


def press_to(page: Page, role: Literal["button", "link", "textbox"], name: str) -> None:
    """Press Tab until the control of this name has the focus."""
    wanted = page.get_by_role(role, name=name, exact=True)
    for _ in range(TABS):
        page.keyboard.press("Tab")
        if wanted.evaluate_all("(found) => found.includes(document.activeElement)"):
            return
    pytest.fail(f"nobody comes to the {role} {name!r} by pressing Tab")


def test_a_key_and_a_prediction_need_no_mouse(visitor: Visitor) -> None:
    page = visitor(None)
    name = fresh("typist")
    sign_up(page, name)
    page.get_by_role("button", name="Log out").click()
    page.goto("/portal/login")
    press_to(page, "textbox", "Name")
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()

    page.goto(f"/portal/models/{MODEL}")
    press_to(page, "link", "Subscribe")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Get my key")).to_be_visible()
    page.get_by_label("Application", exact=False).last.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(fresh("keys"))
    page.keyboard.press("Enter")
    expect(page.locator("#new-key")).to_be_visible()
    press_to(page, "link", "Try it now")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Predict", exact=True)).to_be_visible()
    press_to(page, "button", "Predict")
    page.keyboard.press("Enter")
    expect(page.locator("#try-answer .answer-facts")).to_contain_text("Version 1")
    expect(page.get_by_role("button", name="Predict", exact=True)).to_be_focused()


def test_who_was_logged_out_elsewhere_is_asked_to_log_in(visitor: Visitor, world: World) -> None:
    page = visitor(None)
    name = fresh("leaver")
    sign_up(page, name)
    log_in_again = {"name": name, "password": PASSWORD}
    session = httpx.post(f"{world.url}/api/v1/sessions", json=log_in_again, trust_env=False)
    headers = {"Authorization": f"Bearer {session.raise_for_status().json()['secret']}"}
    httpx.delete(
        f"{world.url}/api/v1/sessions", headers=headers, trust_env=False
    ).raise_for_status()
    page.goto("/portal/applications")
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    log_in(page, name)
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
