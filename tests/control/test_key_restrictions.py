"""Keys for some models, operations or addresses alone."""

import msgspec
import pytest

from protocol.configuration import KeyDoc
from registry.access import Actor
from tests.control.acting import Cast
from tests.control.keys import make
from tests.control.running import Control


async def test_restrictions_come_back_in_one_spelling_and_reach_gateways(control: Control) -> None:
    made = await make(
        control,
        environment="test",
        scopes=["metadata", "predict", "predict"],
        models=["risk"],
        networks=["203.0.113.7", "10.0.0.0/8", "10.0.0.0/8"],
    )

    assert made["scopes"] == ["predict", "metadata"]
    assert made["networks"] == ["10.0.0.0/8", "203.0.113.7/32"]
    document = msgspec.json.decode(control.services.stream.rows(0, 100)[-1].doc, type=KeyDoc)
    assert document == KeyDoc(
        id=made["id"],
        hash=document.hash,
        application="shop",
        models=("risk",),
        environment="test",
        scopes=("predict", "metadata"),
        networks=("10.0.0.0/8", "203.0.113.7/32"),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"scopes": []},
        {"scopes": ["everything"]},
        {"networks": ["10.0.0.5/8"]},
        {"networks": ["*"]},
        {"networks": ["10.0.0.0/8"] * 101},
        {"environment": "prod"},
        {"label": "a" * 201},
    ],
)
async def test_restrictions_that_make_no_sense_are_refused(
    control: Control, wrong: dict[str, object]
) -> None:
    made = await make(control)
    refused = await control.admin.post("/api/v1/keys", json={"application": "shop", **wrong})
    assert refused.status_code == 422
    if "environment" not in wrong:
        path = f"/api/v1/keys/{made['id']}"
        assert (await control.admin.patch(path, json=wrong)).status_code == 422


async def test_a_key_is_restricted_to_models_that_its_maker_knows(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, bare = await make(control, models=["risk"]), await make(control)
    consumer = Cast(control, monkeypatch).client(Actor("con", "consumer", consumer="default"))
    for models in (["risc"], ["risk"]):  # one that is not there, one that is not published
        body = {"application": "shop", "models": models}
        answers = [
            await consumer.post("/api/v1/keys", json=body),
            await consumer.patch(f"/api/v1/keys/{bare['id']}", json={"models": models}),
        ]
        assert {a.status_code for a in answers} == {404}
        assert {a.json()["code"] for a in answers} == {"model_not_found"}

    # What an administrator restricted the key to may stay as it is.
    kept = await consumer.patch(f"/api/v1/keys/{made['id']}", json={"models": ["risk"]})
    assert kept.status_code == 200
