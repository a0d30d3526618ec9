"""A page is looked at on desktop and phone, and searched for what shuts somebody out."""

from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, Visitor
from tests.browser.pages import Shown

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
SERIOUS = ("serious", "critical")
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    "resultTypes": ["violations"],  # what passes is checked too, and not written out: half the time
}
FIND = "async (options) => (await axe.run(document, options)).violations"
UNDRAWN = ".chart .plot:empty:not([hidden] *)"
"""Charts in a tab that nobody has opened are not drawn."""

LOCKED = "select:required:invalid"
"""Lists that would hold back their form as it is opened; those of the API reference ask for what a
call cannot do without."""

BROKEN = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    for (const number of text.data.matchAll(/(?<=^|\\s)[-+]?\\d[\\d.,]*\\d(?=$|\\s)/g)) {
      const range = document.createRange();
      range.setStart(text, number.index);
      range.setEnd(text, number.index + number[0].length);
      const lines = new Set([...range.getClientRects()].map((one) => one.top));
      if (lines.size > 1) found.push(number[0]);
    }
  }
  return found;
}"""
"""Numbers that go on in the next line."""
HIDDEN = """() => [...document.querySelectorAll(".nav a")].filter((one) => {
  const place = one.getBoundingClientRect();
  return place.left < 0 || place.right > innerWidth;
}).map((one) => one.textContent)"""
"""Places that the navigation does not show."""
CUT = """() => [...document.querySelectorAll(".table-box:has(input)")].filter(
  (one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.ariaLabel)"""
"""Tables to be filled in that are cut off."""


def look(shown: Shown, reader: Visitor, screens: Path, *, dark: bool) -> list[str]:
    """Take both screenshots; what is wrong with the page, in words."""
    wrong = []
    page = reader(shown.role, dark=dark, refused=shown.refused)
    page.goto(shown.path)
    settle(page)
    if not shown.name.startswith("reference"):
        held = page.locator(LOCKED).evaluate_all("found => found.map(one => one.name)")
        wrong += [f"{shown.name}: the list {name} must be changed to go on" for name in held]
    scheme = "dark" if dark else "light"
    for device, size in (("desktop", DESKTOP), ("phone", PHONE)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        name = f"{shown.role or 'nobody'}-{shown.name}-{scheme}-{device}.png"
        page.screenshot(path=screens / name, full_page=True)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            wrong.append(f"{name} scrolls sideways by {wide} px")
        wrong += [f"{name} breaks the number {number}" for number in page.evaluate(BROKEN)]
        wrong += [f"{name} does not show {label}" for label in page.evaluate(HIDDEN)]
        if device == "desktop":
            wrong += [f"{name} cuts the table {label}" for label in page.evaluate(CUT)]
            wrong += violations(page)
    return wrong


def settle(page: Page) -> None:
    """Wait until the page's scripts have prepared it. Not for quiet: live pages are never quiet."""
    expect(page.locator('html[data-ready="1"]')).to_have_count(1)
    expect(page.locator(UNDRAWN)).to_have_count(0)


def violations(page: Page) -> list[str]:
    """What axe-core finds that shuts somebody out, in words.

    Its source is run by the debugger, which no content security policy concerns.
    """
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate(FIND, RULES)
    return [
        f"{one['id']}: {one['help']}: {node['html'][:200]}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]
