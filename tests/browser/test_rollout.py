"""A publisher moves traffic, and a sponsor decides, in a browser."""

import re

import pytest
from playwright.sync_api import expect

import tollway
from tests.browser.conftest import Visitor
from tests.browser.world import World
from tests.e2e.models import affine

MODEL = "fares"
API = f"/api/v1/models/{MODEL}"
ROLLOUT = f"/portal/publish/models/{MODEL}/rollout"


@pytest.fixture(scope="module")
def fares(world: World) -> World:
    """A model whose second version is stable, and whose first was."""
    with tollway.Client(world.url, token=world.secrets["publisher"]) as publisher:
        publisher.deploy(affine(), name=MODEL)
        publisher.deploy(affine(), name=MODEL, description="trained again")
    return world


def test_a_canary_is_begun_watched_ended_and_the_version_before_answers_again(
    fares: World, visitor: Visitor
) -> None:
    page = visitor("publisher")
    page.goto(ROLLOUT)
    expect(page.get_by_role("list", name="What answers").get_by_text("Version 2")).to_be_visible()
    page.get_by_role("button", name="Start the canary").click()
    expect(page.get_by_text("The canary has begun.")).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    canary = page.get_by_role("region", name="Guarded canary")
    expect(canary.get_by_text("running")).to_be_visible()

    with fares.api() as admin:  # somebody else: the page follows without being loaded again
        admin.post(f"{API}/rollout/pause", json={"reason": "lunch"}).raise_for_status()
    expect(canary.get_by_text("paused", exact=True)).to_be_visible()
    expect(page.get_by_text("lunch")).to_be_visible()

    canary.get_by_role("button", name="Abort").click()
    dialog = page.get_by_role("dialog", name="Abort the canary?")
    dialog.get_by_label("Why").fill("seen enough")
    dialog.get_by_role("button", name="Abort the canary").click()
    expect(page.get_by_text("Aborted: all of its traffic")).to_be_visible()

    page.get_by_role("button", name="Roll back to version 1").press("Enter")
    page.get_by_role("button", name="Roll back now").press("Enter")
    expect(page.get_by_text("Rolled back: version 1 answers now.")).to_be_visible()


def test_the_slider_is_moved_by_keys_in_steps_of_a_tenth(fares: World, visitor: Visitor) -> None:
    page = visitor("publisher")
    page.goto(ROLLOUT)
    page.get_by_role("tab", name="Set a share by hand").click()
    slider = page.get_by_role("slider", name="Share of the applications")
    slider.focus()
    slider.press("ArrowRight")
    slider.press("ArrowRight")
    field = page.get_by_role("spinbutton", name="Share of the applications")
    expect(field).to_have_value("0.2")
    expect(page.get_by_text("never moves an application back")).to_be_visible()
    page.get_by_role("tabpanel").get_by_role("button", name="Set the share").press("Enter")
    lanes = page.get_by_role("list", name="What answers")
    expect(lanes.get_by_text("0.2 %")).to_be_visible()


def test_a_sponsor_refuses_with_a_reason_and_then_approves(fares: World, visitor: Visitor) -> None:
    agreed = {"problem": "Fares that nobody pays.", "sponsor": "robin-sponsor"}
    with fares.api() as admin:
        admin.put(f"{API}/requirements", json=agreed).raise_for_status()
        asked = admin.post(f"{API}/versions/2/approval-requests", json={"note": "For May."})
        asked.raise_for_status()
    page = visitor("sponsor", refused=True)
    page.goto("/portal/approvals")
    page.get_by_role("link", name=re.compile("version 2")).click()
    expect(page.get_by_text("Fares that nobody pays.")).to_be_visible()
    page.get_by_role("button", name="Refuse").click()
    expect(page.get_by_text("say why the version is refused")).to_be_visible()
    page.get_by_label("Reason").fill("Not for May.")
    page.get_by_role("button", name="Refuse").click()
    expect(page.get_by_text("Version 2 is refused.")).to_be_visible()
    page.get_by_role("button", name="Approve version 2").click()
    expect(page.get_by_text("Version 2 is approved.")).to_be_visible()
    page.goto("/portal/approvals")
    expect(page.get_by_text("Nothing is asked of you")).to_be_visible()
