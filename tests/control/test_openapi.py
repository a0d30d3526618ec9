"""The OpenAPI document is committed: a change of the API shows as a change of that file."""

import json

import pytest

from control.description import description
from control.openapi import document as made_document

UPDATE = "python -m control.openapi > control/openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, object]:
    made: dict[str, object] = json.loads(description())
    return made


def test_what_is_answered_is_what_the_routes_are(document: dict[str, object]) -> None:
    assert json.loads(json.dumps(made_document())) == document, (
        f"the API has changed; if that is meant, run: {UPDATE}"
    )


def test_every_operation_is_described_tagged_and_says_how_it_fails(
    document: dict[str, dict[str, dict[str, dict[str, object]]]],
) -> None:
    names = []
    for path, operations in document["paths"].items():
        assert path.startswith("/api/v1/")
        for method, operation in operations.items():
            place = f"{method} {path}"
            assert operation.get("description"), place
            assert operation.get("tags"), place
            names.append(operation["operationId"])
    assert len(names) == len(set(names))


def test_internal_routes_are_not_in_it(document: dict[str, object]) -> None:
    assert "/internal" not in json.dumps(document)
    assert document["security"] == [{"management": []}]


def test_every_reference_in_it_leads_somewhere(document: dict[str, object]) -> None:
    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [one for value in node.values() for one in references(value)]
        if isinstance(node, list):
            return [one for value in node for one in references(value)]
        return []

    for reference in references(document):
        node: object = document
        for part in reference.removeprefix("#/").split("/"):
            assert isinstance(node, dict)
            assert part in node, reference
            node = node[part]
