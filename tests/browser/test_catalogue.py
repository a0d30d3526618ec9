"""A reader finds a model, and tries it with a key of their own."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from onnx import TensorProto, helper
from playwright.sync_api import Page, expect
from sklearn.linear_model import LogisticRegression

import tollway
from protocol.manifest import sha256_digest
from tests.browser.conftest import PHONE, Visitor
from tests.browser.world import World

COVERED = """() => {
  const box = document.getElementById("try-json").getBoundingClientRect();
  const bar = document.getElementById("try-actions").getBoundingClientRect();
  return Math.max(0, Math.round(Math.min(box.bottom, bar.bottom) - Math.max(box.top, bar.top)));
}"""
"""Pixels of the box of JSON that the buttons lie over."""
CONTRACT = {
    "problem": "Decide on small loans",
    "contract": {
        "mode": "enforce",
        "rules": [{"column": "age", "minimum": 18, "maximum": 120, "nulls": False}],
    },
}


@pytest.fixture(scope="module")
def key(world: World) -> str:
    """A key that may call ``loans`` three times a minute, a model whose contract is enforced."""
    generator = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "age": generator.uniform(20, 70, 200),
            "income": generator.uniform(0, 9, 200),
        }
    )
    paid = (rows["age"] / 10 + rows["income"] > 9).map({True: "paid", False: "owed"})
    with tollway.Client(world.url, token=world.secrets["publisher"]) as publisher:
        model = LogisticRegression(max_iter=1000).fit(rows, paid)
        publisher.deploy(model, name="loans", X=rows, y=paid, background=20, progress=False)
    with world.api() as admin:
        for path, body in (
            ("models/loans/requirements", CONTRACT),
            ("plans/scarce", {"rates": [{"name": "minute", "requests": 5, "window_s": 60}]}),
            ("applications/shop", {"consumer": "robin-consumer"}),
            ("subscriptions/shop/loans", {"plan": "scarce"}),
        ):
            admin.put(f"/api/v1/{path}", json=body).raise_for_status()
        made = admin.post("/api/v1/keys", json={"application": "shop"}).raise_for_status()
    return str(made.json()["secret"])


@pytest.fixture(scope="module")
def irises(world: World, key: str) -> str:
    """A graph of somebody's own that answers a class by its number, and has labels."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["N"])
    shares = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 3])
    nodes = [
        helper.make_node("Softmax", ["x"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(nodes, "irises", [x], [label, shares])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content = made.SerializeToString()
    blob = {"digest": sha256_digest(content), "size": len(content)}
    with world.api() as admin:
        begun = admin.post("/api/v1/blobs/uploads", json=blob).raise_for_status().json()
        at = f"/api/v1/blobs/uploads/{begun['id']}"
        admin.patch(at, content=content, headers={"Upload-Offset": "0"}).raise_for_status()
        admin.post(f"{at}/complete").raise_for_status()
        admin.put("/api/v1/models/irises").raise_for_status()
        version = {
            "artifact": blob,
            "task": "classification",
            "labels": ["setosa", "versicolor", "virginica"],
            "columns": [
                {"name": f"x{at}", "type": "float", "input": "x", "index": at} for at in range(3)
            ],
        }
        admin.post("/api/v1/models/irises/versions", json=version).raise_for_status()
    with tollway.Client(world.url, token=world.secrets["admin"]) as publisher:
        publisher.promote("irises", 1)
    with world.api() as admin:
        plan = {"plan": "scarce"}
        admin.put("/api/v1/subscriptions/shop/irises", json=plan).raise_for_status()
    return key


def test_a_class_that_is_answered_as_its_number_is_shown_by_its_label(
    visitor: Visitor, irises: str
) -> None:
    page = visitor("consumer")
    page.goto("/portal/models/irises")
    page.get_by_label("Your API key").fill(irises)
    for column, value in (("x0", "0"), ("x1", "1"), ("x2", "5")):
        page.get_by_label(column).fill(value)
    predict(page)
    answer = page.get_by_role("region", name="Answer")
    expect(answer.locator(".big-answer")).to_have_text("virginica label 2")
    expect(answer.locator(".measure").first).to_contain_text("virginica")


def predict(page: Page, button: str = "Predict") -> None:
    page.get_by_role("button", name=button, exact=True).click()


def test_a_reader_finds_a_model_and_tries_it(visitor: Visitor, key: str) -> None:
    page = visitor("consumer", refused=True)
    page.goto("/portal")
    page.get_by_label("Search the catalogue").fill("owed income")
    expect(page.locator("#catalogue a.card")).to_have_count(1)
    page.locator("#catalogue a.card").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("loans")
    answer = page.get_by_role("region", name="Answer")

    predict(page)
    expect(page.get_by_text("Type your key, or get one first.")).to_be_visible()
    page.get_by_label("Your API key").fill("tw_live_nothing")
    predict(page)
    expect(answer).to_contain_text("The key is not accepted.")

    page.get_by_label("Your API key").fill(key)
    page.get_by_label("age", exact=True).fill("151")
    predict(page)
    expect(page.get_by_label("age", exact=True)).to_be_focused()
    expect(page.get_by_label("age", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.locator('[data-column="age"]')).to_contain_text("151 is above the maximum 120")

    page.get_by_label("age", exact=True).fill("60")
    predict(page, "Predict and explain")
    expect(answer.locator("meter")).to_have_count(2)
    expect(answer.locator(".contributions > div")).to_have_count(2)
    expect(answer).to_contain_text("Version 1 (stable)")
    expect(answer).to_contain_text("of 5 left")
    answer.get_by_text("The request and the answer").click()
    expect(answer.locator("#try-sent-0")).to_contain_text("POST /v1/models/loans:predict")
    assert key not in page.content()
    assert key[:12] in page.content()


def test_a_used_up_limit_says_when_to_come_back(visitor: Visitor, key: str) -> None:
    page = visitor("consumer", size=PHONE, refused=True)
    page.goto("/portal/models/loans/try")
    page.get_by_label("Your API key").fill(key)
    answer = page.get_by_role("region", name="Answer")
    for _ in range(6):
        predict(page)
        expect(answer.locator(".answer-facts, .notice").first).to_be_visible()
        if answer.get_by_text("A limit is used up.").is_visible():
            break
    expect(answer).to_contain_text("Come back in")


def test_rows_are_added_and_written_as_json(visitor: Visitor, key: str) -> None:
    page = visitor("consumer")
    page.goto("/portal/models/loans/try")
    page.get_by_role("button", name="Add a row").click()
    page.locator('fieldset:nth-of-type(2) [data-column="age"] input').fill("33.50")
    page.get_by_role("button", name="As JSON").click()
    body = page.get_by_label("Body as JSON")
    assert '"age": 33.5' in body.input_value()
    body.fill("{")
    page.get_by_label("Your API key").fill(key)
    predict(page)
    expect(page.get_by_text("This is not JSON")).to_be_visible()
    body.fill('{"instances": [{"age": 1, "income": null}]}')
    page.get_by_role("button", name="As fields").click()
    expect(page.locator("#try-rows fieldset")).to_have_count(1)
    expect(page.get_by_label("age", exact=True)).to_have_value("1")
    expect(page.get_by_label("income", exact=True)).to_have_value("")


def test_filters_change_the_list_and_its_address(visitor: Visitor, key: str) -> None:
    page = visitor("consumer")
    page.goto("/portal")
    regression = page.locator('#catalogue a.card[href$="/models/demand-forecast"]')
    expect(regression).to_be_visible()
    page.get_by_label("Predicts").focus()
    page.get_by_label("Predicts").select_option("classification")
    expect(page).to_have_url("/portal?task=classification")
    expect(regression).to_have_count(0)
    expect(page.locator('#catalogue a.card[href$="/models/loans"]')).to_be_visible()
    expect(page.get_by_label("Predicts")).to_be_focused()
    page.get_by_role("link", name="List").click()
    expect(page).to_have_url("/portal?task=classification&view=list")
    expect(page.get_by_role("region", name="Models")).to_be_visible()


def test_a_route_that_reads_is_tried_in_the_reference(visitor: Visitor, key: str) -> None:
    page = visitor("consumer")
    page.goto("/portal/reference")
    with page.expect_response(lambda answer: "q=list" in answer.url):
        page.get_by_role("searchbox").fill("list keys revoked")
    expect(page).to_have_url(re.compile(r"q=list"))  # before it, links are of the list before
    page.get_by_role("link", name="/keys", exact=True).first.click()
    operation = page.locator("#get-api-v1-keys")
    operation.get_by_text("Try it", exact=True).click()
    operation.get_by_role("button", name="Send").click()
    expect(operation).to_contain_text("HTTP/1.1 200")
    assert key not in page.content()


@pytest.mark.parametrize("size", [(360, 640), (360, 480), (1000, 420), (1280, 900)])
def test_no_button_covers_the_box_of_json(
    visitor: Visitor, key: str, size: tuple[int, int], screens: Path
) -> None:
    page = visitor("consumer", size=size)
    page.goto("/portal/models/loans")
    page.get_by_role("button", name="As JSON").click()
    box = page.get_by_label("Body as JSON")
    expect(box).to_be_visible()
    for block in ("end", "start"):
        box.evaluate("(box, block) => box.scrollIntoView({ block })", block)
        page.screenshot(path=screens / f"try-json-{size[0]}x{size[1]}-{block}.png")
        covered = page.evaluate(COVERED)
        assert covered == 0, f"{covered} px at the {block}"
