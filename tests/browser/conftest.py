"""One browser and one stack for all browser tests; every page fails its test by what its console
says."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from tests.browser import chromium
from tests.browser.world import PASSWORD, World, build
from tests.e2e.stack import RunningStack

DESKTOP = (1280, 900)
PHONE = (390, 844)
WITHIN_MS = 20_000
"""How long a page may take to show what is expected: machines of tests are slow and shared."""
REFUSALS = (
    "Failed to load resource: the server responded with a status of 4",
    "Response Status Error Code 4",
)
"""What the browser and htmx say of a refused request, which is what a test may be about."""
Visitor = Callable[..., Page]
Reader = Callable[..., BrowserContext]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test may wait for a browser that is installed."""
    folder = Path(__file__).parent
    for item in items:
        if item.path.parent == folder:
            item.add_marker(pytest.mark.timeout(chromium.INSTALLS_WITHIN_S + 120))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. It ends with each module: until then Playwright runs this thread's event loop, and
    tests of other packages run loops of their own."""
    expect.set_options(timeout=WITHIN_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=chromium.executable(), args=chromium.ARGUMENTS
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A stack with models and a user of every role."""
    settings = {"TOLLWAY_SIGN_UP": "true"}
    with RunningStack(tmp_path_factory.mktemp("portal"), settings=settings) as stack:
        yield build(stack)


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """What consoles say; anything fails the test."""
    found: list[str] = []
    yield found
    assert found == []


def entered(
    browser: Browser, world: World, role: str | None, size: tuple[int, int], *, dark: bool
) -> BrowserContext:
    """A context of somebody who is logged in, or of nobody."""
    context = browser.new_context(
        base_url=world.url,
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    )
    if role is not None:
        context.add_cookies([world.cookie(role)])
    return context


@pytest.fixture
def visitor(browser: Browser, world: World, complaints: list[str]) -> Iterator[Visitor]:
    """``visitor("publisher")``: a page of somebody who is logged in; ``visitor(None)``: of nobody.

    Contexts are new each time: nobody has another's cookies. ``refused``: the test provokes
    refusals, and the console may tell of them.
    """
    opened: list[BrowserContext] = []

    def visit(
        role: str | None,
        *,
        size: tuple[int, int] = DESKTOP,
        dark: bool = False,
        refused: bool = False,
    ) -> Page:
        context = entered(browser, world, role, size, dark=dark)
        opened.append(context)
        page = context.new_page()
        watch(page, complaints, REFUSALS if refused else ())
        return page

    yield visit
    for context in opened:
        context.close()


@pytest.fixture(scope="module")
def readers(browser: Browser, world: World) -> Iterator[Reader]:
    """``readers("publisher", dark=True)``: a context that the module's tests share, because they
    only read: what all pages have in common is loaded once."""
    opened: dict[tuple[str | None, bool], BrowserContext] = {}

    def read(role: str | None, *, dark: bool) -> BrowserContext:
        if (role, dark) not in opened:
            opened[role, dark] = entered(browser, world, role, DESKTOP, dark=dark)
        return opened[role, dark]

    yield read
    for context in opened.values():
        context.close()


@pytest.fixture
def reader(readers: Reader, complaints: list[str]) -> Iterator[Visitor]:
    """As ``visitor``, in the contexts that are shared."""
    opened: list[Page] = []

    def visit(role: str | None, *, dark: bool = False, refused: bool = False) -> Page:
        page = readers(role, dark=dark).new_page()
        opened.append(page)
        watch(page, complaints, REFUSALS if refused else ())
        return page

    yield visit
    for page in opened:
        page.close()


def watch(page: Page, complaints: list[str], allowed: tuple[str, ...]) -> None:
    """Note what the console says (reports of the content security policy too), and defects of
    scripts."""

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(allowed):
            complaints.append(f"{page.url}: {message.text} ({message.location['url']})")

    page.on("console", said)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))


def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """As a person does."""
    page.goto("/portal/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


@pytest.fixture(scope="session")
def screens() -> Path:
    """Where screenshots are left to be looked at."""
    folder = Path(__file__).parents[2] / "build" / "screens"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
