"""The OpenAPI document is committed: a change of the API shows as a change of that file."""

import json
from pathlib import Path

import pytest

from control.app import openapi_content

SNAPSHOT = Path(__file__).parents[2] / "docs" / "reference" / "openapi.json"
UPDATE = "python -m control.openapi > docs/reference/openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, object]:
    made: dict[str, object] = json.loads(openapi_content())
    return made


def test_the_snapshot_is_the_document(document: dict[str, object]) -> None:
    assert json.loads(SNAPSHOT.read_text()) == document, (
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
