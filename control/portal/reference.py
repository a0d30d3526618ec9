"""OpenAPI documents as the pages of the reference show them. Pure.

Read defensively: a document's author may be another release of this software.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, cast

import msgspec

from control.portal.schema_tree import Node, schema_tree

METHODS: Final = ("get", "head", "put", "post", "patch", "delete")
_ANCHOR: Final = re.compile(r"[^a-z0-9]+")
_LOGINS: Final = "/api/v1/oidc/"
_JSON: Final = "application/json"
_TITLES: Final = {"oidc": "OpenID Connect", "api": "API"}
Json = Mapping[str, object]


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of an operation."""

    name: str
    place: str
    """``path``, ``query`` or ``header``."""
    kind: str
    required: bool
    description: str
    options: tuple[str, ...]
    default: str


class Sample(msgspec.Struct, frozen=True):
    """A program that makes the call."""

    label: str
    text: str


class Answer(msgspec.Struct, frozen=True):
    """A response of an operation."""

    status: str
    description: str
    schema: Node | None


class Operation(msgspec.Struct, frozen=True):
    """A route."""

    id: str
    method: str
    path: str
    tag: str
    summary: str
    description: str
    deprecated: bool
    parameters: tuple[Parameter, ...]
    body: Node | None
    example: str
    """Of the body, as JSON text."""
    answers: tuple[Answer, ...]
    samples: tuple[Sample, ...]

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return _ANCHOR.sub("-", f"{self.method}-{self.path}".lower()).strip("-")

    @property
    def readable(self) -> bool:
        """Whether it can be tried by reading: a GET that answers with JSON, and makes nothing: the
        end of a login by an identity provider would show a new session's secret."""
        return (
            self.method == "GET"
            and not self.path.startswith(_LOGINS)
            and any(one.status == "200" and one.schema is not None for one in self.answers)
        )

    def holds(self, words: list[str]) -> bool:
        """Whether every word, in lower case, is in what is said of it."""
        text = " ".join((self.method, self.path, self.summary, self.description, self.tag)).lower()
        return all(word in text for word in words)


class Group(msgspec.Struct, frozen=True):
    """The operations of a tag."""

    tag: str
    operations: tuple[Operation, ...]

    @property
    def title(self) -> str:
        """The tag as a heading."""
        return _TITLES.get(self.tag) or self.tag.replace("-", " ").capitalize()


def groups_of(document: Json) -> list[Group]:
    """Every operation of the document, by tag, in its order."""
    found: dict[str, list[Operation]] = {}
    for operation in _operations(document):
        found.setdefault(operation.tag, []).append(operation)
    return [Group(tag, tuple(operations)) for tag, operations in sorted(found.items())]


def searched(groups: list[Group], text: str) -> list[Group]:
    """The operations in which every word of ``text`` is."""
    words = text.lower().split()
    if not words:
        return groups
    left = [
        Group(group.tag, tuple(one for one in group.operations if one.holds(words)))
        for group in groups
    ]
    return [group for group in left if group.operations]


def _operations(document: Json) -> Iterator[Operation]:
    for path, item in _object(document.get("paths")).items():
        for method in METHODS:
            given = _object(_object(item).get(method))
            if given:
                yield _operation(document, path, method, given)


def _operation(document: Json, path: str, method: str, given: Json) -> Operation:
    tags = _list(given.get("tags"))
    content = _object(
        _object(_resolved(document, given.get("requestBody")).get("content")).get(_JSON)
    )
    return Operation(
        id=_text(given.get("operationId")),
        method=method.upper(),
        path=path,
        tag=_text(tags[0]) if tags else "predictions",
        summary=_text(given.get("summary")),
        description=_text(given.get("description")),
        deprecated=given.get("deprecated") is True,
        parameters=tuple(
            _parameter(document, _resolved(document, one)) for one in _list(given.get("parameters"))
        ),
        body=schema_tree(document, content["schema"]) if "schema" in content else None,
        example=_example(content),
        answers=tuple(_answers(document, _object(given.get("responses")))),
        samples=tuple(
            Sample(_text(_object(one).get("label")), _text(_object(one).get("source")))
            for one in _list(given.get("x-codeSamples"))
        ),
    )


def _parameter(document: Json, given: Json) -> Parameter:
    tree = schema_tree(document, given.get("schema", {}))
    default = _object(given.get("schema")).get("default")
    return Parameter(
        name=_text(given.get("name")),
        place=_text(given.get("in")),
        kind=tree.kind,
        required=given.get("required") is True,
        description=_text(given.get("description")) or tree.description,
        options=tree.options,
        default="" if default is None else str(default),
    )


def _answers(document: Json, responses: Json) -> Iterator[Answer]:
    for status, one in sorted(responses.items()):
        given = _resolved(document, one)
        content = _object(_object(given.get("content")).get(_JSON))
        schema = content.get("schema")
        tree = schema_tree(document, schema) if schema and status.startswith("2") else None
        yield Answer(status, _text(given.get("description")), tree)


def _example(content: Json) -> str:
    example = content.get("example")
    return "" if example is None else json.dumps(example, indent=2, ensure_ascii=False)


def _resolved(document: Json, given: object) -> Json:
    """``given``, or what its ``$ref`` names."""
    found = _object(given)
    reference = found.get("$ref")
    if not isinstance(reference, str):
        return found
    place: object = document
    for part in reference.removeprefix("#/").split("/"):
        place = _object(place).get(part)
    return _object(place)


def _object(given: object) -> Json:
    return cast("Json", given) if isinstance(given, dict) else {}


def _list(given: object) -> list[object]:
    return given if isinstance(given, list) else []


def _text(given: object) -> str:
    return given if isinstance(given, str) else ""
