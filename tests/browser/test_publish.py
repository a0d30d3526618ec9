"""A publisher brings a model's next version by browser, and follows it until an engine answers."""

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visitor
from tests.registry import models_onnx


def test_a_file_becomes_a_version_that_an_engine_answers_for(
    visitor: Visitor, tmp_path: Path
) -> None:
    graph = tmp_path / "forecast.onnx"
    graph.write_bytes(models_onnx.linear(3, scale=4.0).SerializeToString())
    page = visitor("publisher")
    page.goto("/portal/publish")
    page.get_by_role("link", name="New model").click()
    page.get_by_label("Name").fill("brought-by-browser")
    page.get_by_role("button", name="Make the model").click()
    page.get_by_role("link", name="Upload a version").first.click()
    page.get_by_label("Drop an ONNX file here").set_input_files(graph)
    page.get_by_label("Columns of input").fill("price\nweekday\nweather")
    page.get_by_role("button", name="Register the version").click()
    expect(page.get_by_text("Version 1 is registered.")).to_be_visible()
    # Nobody loads the page again: the state comes as it changes.
    expect(page.get_by_text("an engine answers")).to_be_visible(timeout=60_000)
    for step in ("Validate", "Mark as approved", "Publish"):
        page.get_by_role("button", name=step, exact=True).click()
    expect(page.get_by_text("Version 1 is published.")).to_be_visible()
    page.get_by_role("tab", name="Interface").click()
    expect(page.get_by_role("rowheader", name="weekday")).to_be_visible()
