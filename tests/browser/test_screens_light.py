"""Every page in the light scheme, on desktop and phone, shuts nobody out."""

from pathlib import Path

import pytest

from tests.browser.conftest import Visitor
from tests.browser.looking import look
from tests.browser.pages import PAGES, Shown


@pytest.mark.parametrize("shown", PAGES, ids=lambda shown: f"{shown.role}-{shown.name}")
def test_page_shuts_nobody_out(shown: Shown, reader: Visitor, screens: Path) -> None:
    assert look(shown, reader, screens, dark=False) == []
