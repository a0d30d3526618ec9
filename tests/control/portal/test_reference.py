"""The API reference: made of the documents themselves, small, and tried as the reader."""

import json
import re

import pytest

from control.description import description
from control.portal.reading import asked
from control.portal.reference import groups_of, searched
from control.portal.schema_tree import schema_tree
from protocol.errors import TollwayError
from tests.control.portal.conftest import Visiting
from tests.control.portal.shelf import publish
from tests.control.running import Control

DOCUMENT = json.loads(description())
GROUPS = groups_of(DOCUMENT)


def test_every_operation_of_the_document_is_on_one_page() -> None:
    found = [(one.method.lower(), one.path) for group in GROUPS for one in group.operations]
    wanted = [(method, path) for path, item in DOCUMENT["paths"].items() for method in item]
    assert sorted(found) == sorted(wanted)
    for group in GROUPS:
        anchors = [one.anchor for one in group.operations]
        assert len(set(anchors)) == len(anchors)


def test_a_search_finds_operations_by_words_in_any_order() -> None:
    (group,) = searched(GROUPS, "secret rotate key")
    assert [one.path for one in group.operations] == ["/api/v1/keys/{key}/rotate"]
    assert searched(GROUPS, "") == GROUPS
    assert searched(GROUPS, "no-such-thing") == []


def test_a_schema_that_holds_itself_is_unfolded_once() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/components/schemas/Node"}}}
    document = {"components": {"schemas": {"Node": node}}}
    tree = schema_tree(document, {"$ref": "#/components/schemas/Node"})
    assert tree.kind == "Node"
    assert [field.name for field in tree.fields] == ["next"]
    assert tree.fields[0].fields == ()


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": ["integer", "null"]}, "whole number or null"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"type": "array", "items": {"type": "number"}}, "list of number"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "object: text to text"),
        ({}, "any value"),
        ("nonsense", "any value"),
    ],
)
def test_kinds_are_told_in_words(schema: object, kind: str) -> None:
    assert schema_tree({}, schema).kind == kind


def test_a_path_parameter_leads_nowhere_else() -> None:
    operation = next(one for group in GROUPS for one in group.operations if one.id == "get_key")
    assert asked(operation, {"p-key": "a b"}).target == "/api/v1/keys/a%20b"
    for value in ("", "..", "a/b", "../users"):
        with pytest.raises(TollwayError, match="fill it in"):
            asked(operation, {"p-key": value})


async def test_every_page_of_the_reference_is_small(visiting: Visiting) -> None:
    client = await visiting("consumer")
    sizes = {}
    for path in ("", *(f"/api/{group.tag}" for group in GROUPS)):
        answer = await client.get(f"/portal/reference{path}")
        assert answer.status_code == 200, path
        sizes[path] = len(answer.content)
    assert max(sizes.values()) < 250_000, sizes
    assert (await client.get("/portal/reference/api/none")).status_code == 404


async def test_a_route_is_read_as_the_reader_and_nothing_else_is_sent(
    visiting: Visiting,
) -> None:
    client = await visiting("consumer")
    text = (await client.get("/portal/reference/send?operation=list_keys&p-limit=1")).text
    assert "GET /api/v1/keys?limit=1 HTTP/1.1" in text
    assert "HTTP/1.1 200" in text
    assert client.cookies["tollway_session"] not in text
    refused = await client.get("/portal/reference/send?operation=list_users")
    assert refused.status_code == 200
    assert "HTTP/1.1 403" in refused.text
    wrong = await client.get("/portal/reference/send?operation=list_keys&p-limit=many")
    assert "HTTP/1.1 422" in wrong.text
    for operation in ("create_key", "finish_oidc_login", "none", ""):
        answer = await client.get(f"/portal/reference/send?operation={operation}")
        assert answer.status_code == 404, operation


async def test_a_part_is_answered_to_htmx(visiting: Visiting) -> None:
    client = await visiting("consumer")
    headers = {"HX-Request": "true"}
    for path in ("/portal/reference?q=key", "/portal/reference/send?operation=list_keys"):
        text = (await client.get(path, headers=headers)).text
        assert "<html" not in text
    assert re.search(r'id="found"', (await client.get("/portal/reference?q=key")).text)


async def test_a_model_has_a_reference_of_its_own(control: Control, visiting: Visiting) -> None:
    publish(control, "credit")
    client = await visiting("consumer")
    text = (await client.get("/portal/reference/models/credit")).text
    assert "/v1/models/credit:predict" in text
    assert "income" in text
