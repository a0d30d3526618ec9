"""Every page in light and dark, on desktop and phone: looked at, and searched for what shuts
somebody out."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import DESKTOP, PHONE, Visitor
from tests.browser.pages import PAGES, Shown

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
SERIOUS = ("serious", "critical")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: f"{shown.role}-{shown.name}")
def test_page_shuts_nobody_out(shown: Shown, visitor: Visitor, screens: Path) -> None:
    for dark in (False, True):
        for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
            page = visitor(shown.role, size=size, dark=dark)
            page.goto(shown.path)
            settle(page)
            scheme = "dark" if dark else "light"
            name = f"{shown.role or 'nobody'}-{shown.name}-{scheme}-{device}.png"
            page.screenshot(path=screens / name, full_page=True)
            assert violations(page) == [], name
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} scrolls sideways by {wide} px"
            page.context.close()


def settle(page: Page) -> None:
    """Wait until the page's scripts have prepared it. Not for quiet: live pages are never quiet."""
    page.wait_for_function("document.documentElement.dataset.ready === '1'")
    page.wait_for_function(
        "[...document.querySelectorAll('.chart .plot')].every((plot) => plot.childNodes.length)"
    )


def violations(page: Page) -> list[str]:
    """What axe-core finds that shuts somebody out, in words.

    Its source is run by the debugger, which no content security policy concerns.
    """
    page.evaluate(AXE.read_text())
    found: dict[str, Any] = page.evaluate("(options) => axe.run(document, options)", RULES)
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]
