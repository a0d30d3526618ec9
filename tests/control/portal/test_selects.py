"""Lists to choose from: one that offers an empty value takes it for an answer, so that the browser
sends the form."""

import re

import httpx
import pytest

from control.portal.rendering import environment
from tests.control.portal.conftest import Visiting
from tests.control.portal.test_applications import application
from tests.control.portal.test_publish import RISK, publisher, send
from tests.control.running import Control

RULE = {"rules": "1", "rule.0.column": "age", "rule.0.minimum": "18"}
PAGES = ("", "/requirements", "/versions/1/deprecation", "/rollout", "/callers", "/shadows")


def dead_ends(page: str) -> list[str]:
    """The required lists of a page whose chosen, or first, option is empty."""
    found = []
    for opening, inside in re.findall(r"(<select[^>]*>)(.*?)</select>", page, re.DOTALL):
        options = re.findall(r"<option[^>]*>", inside)
        chosen = next((one for one in options if " selected" in one), options[0] if options else "")
        if " required" in opening and 'value=""' in chosen:
            found.append(opening)
    return found


def select(**more: object) -> str:
    """A list that offers an empty value."""
    template = environment().from_string(
        '{% import "parts/ui.html" as ui with context %}'
        '{{ ui.select("mode", "Mode", [("", "none"), ("warn", "some")], **more) }}'
    )
    return template.render(more=more, csrf="", path="", now=0)


@pytest.mark.parametrize("value", ["", "warn"])
def test_a_list_that_offers_an_empty_value_is_never_required(value: str) -> None:
    assert " required" not in select(value=value)


async def test_no_page_has_a_list_that_holds_its_form_back(
    control: Control, visiting: Visiting
) -> None:
    visitor, consumer = await publisher(control, visiting), await visiting("consumer")
    await application(control, "van", "robin-consumer")
    for path in PAGES:
        assert dead_ends(await shown(visitor, RISK + path)) == [], path
    for path in ("", "/applications/van/usage", "/subscribe?model=risk"):
        assert dead_ends(await shown(consumer, f"/portal{path}")) == [], path


async def test_requirements_are_saved_without_a_contract_and_lose_one_again(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    path = f"{RISK}/requirements"
    for number, mode in enumerate(("", "warn", ""), start=2):
        made = await send(visitor, path, criteria="r2 > 0.8", mode=mode, **RULE)
        assert made.status_code == 303, made.text
        held = await agreed(control.admin)
        assert held["number"] == number
        assert (held["contract"] is None) == (mode == "")


async def agreed(client: httpx.AsyncClient) -> dict[str, object]:
    """The requirements that hold."""
    found: dict[str, object] = (await client.get("/api/v1/models/risk/requirements")).json()
    return found


async def shown(client: httpx.AsyncClient, path: str) -> str:
    """The text of a page."""
    answer = await client.get(path)
    assert answer.status_code == 200, path
    return answer.text
