"""A publisher evaluates a version by browser: a file goes up, steps are shown as they are made, and
the evidence is there."""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from protocol.manifest import sha256_digest
from tests.browser.conftest import Visitor
from tests.browser.world import World
from tests.registry import models_onnx

MODEL = "to-be-evaluated"
AT = f"/portal/publish/models/{MODEL}/versions/1"
COLUMNS = ("price", "weekday", "weather")
READY_S = 60.0


@pytest.fixture(scope="module")
def version(world: World) -> None:
    """A version with one answer a row, whose columns have names, that an engine answers for."""
    content = models_onnx.linear(3).SerializeToString()
    blob = {"digest": sha256_digest(content), "size": len(content)}
    columns = [
        {"name": name, "type": "float", "input": "input", "index": index}
        for index, name in enumerate(COLUMNS)
    ]
    body = {"artifact": blob, "task": "regression", "columns": columns}
    with world.api() as admin:
        begun = admin.post("/api/v1/blobs/uploads", json=blob).raise_for_status().json()
        if not begun.get("exists"):
            at = f"/api/v1/blobs/uploads/{begun['id']}"
            admin.patch(at, content=content, headers={"Upload-Offset": "0"}).raise_for_status()
            admin.post(f"{at}/complete").raise_for_status()
        admin.put(f"/api/v1/models/{MODEL}").raise_for_status()
        owner = {"user": "robin-publisher"}
        admin.put(f"/api/v1/models/{MODEL}/owner", json=owner).raise_for_status()
        admin.post(f"/api/v1/models/{MODEL}/versions", json=body).raise_for_status()
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            found = admin.get(f"/api/v1/models/{MODEL}/versions/1").json()
            if found["serving"]["state"] == "ready":
                return
            time.sleep(0.1)
    raise AssertionError("no engine answers for the version")


def rows(file: Path, *more: str) -> Path:
    """A file of rows, with these lines at its end."""
    lines = [f"{n % 7},{n % 5},{n % 3},{n % 11},{n % 2}" for n in range(300)]
    file.write_text("\n".join(["price,weekday,weather,sold,shop", *lines, *more]) + "\n")
    return file


def choose(page: Page, file: Path) -> None:
    """Bring a file into the form."""
    page.get_by_label("Drop a CSV file here").set_input_files(file)
    expect(page.get_by_text(f"{file.name} is there")).to_be_visible()


@pytest.mark.usefixtures("version")
def test_a_file_becomes_evidence_of_the_version(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor("publisher")
    page.goto(AT)
    page.get_by_role("tab", name="Evidence").click()
    page.get_by_role("link", name="Evaluate", exact=True).click()
    choose(page, rows(tmp_path / "holdout.csv"))
    expect(
        page.get_by_text("Columns of the file: price, weekday, weather, sold, shop")
    ).to_be_visible()
    page.get_by_label("Column of the truth").fill("sold")
    page.get_by_label("Segments").fill("price<3\nshop")
    # From here by keyboard alone.
    page.get_by_role("button", name="Evaluate").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Evaluation of version 1")).to_be_visible()
    # Nobody loads the page again: steps come as they are made.
    expect(page.get_by_text("Scoring 300 rows")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("The evidence is kept with the version.")).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="See the evidence").click()
    expect(page).to_have_url(re.compile(r"\?evidence=sha256.*#evidence$"))
    expect(page.get_by_role("rowheader", name="shop==1")).to_be_visible()
    expect(page.get_by_text("300 rows, holdout")).to_be_visible()


@pytest.mark.usefixtures("version")
def test_a_row_that_cannot_be_read_is_told_with_its_line_and_mended(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor("publisher")
    page.goto(f"{AT}/evaluate")
    choose(page, rows(tmp_path / "damaged.csv", "dear,1,2,3,0"))
    page.get_by_label("Column of the truth").fill("sold")
    page.get_by_role("button", name="Evaluate").click()
    told = "line 302, column 'price': 'dear' is not a number"
    expect(page.get_by_text(told)).to_be_visible(timeout=60_000)
    page.get_by_role("link", name="Change it and try again").click()
    expect(page.locator("#rows-error")).to_have_text(told)
    expect(page.get_by_label("Column of the truth")).to_have_value("sold")
