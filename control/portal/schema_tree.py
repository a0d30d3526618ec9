"""A JSON Schema as a tree of fields in words, to be unfolded on a page. Pure."""

from collections.abc import Iterator, Mapping
from typing import Final, cast

import msgspec

MAX_DEPTH: Final = 5
MAX_FIELDS: Final = 60
MAX_OPTIONS: Final = 40
_BOUNDS: Final = (
    ("minimum", "at least {}"), ("maximum", "at most {}"), ("exclusiveMinimum", "above {}"),
    ("exclusiveMaximum", "below {}"), ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"), ("minItems", "at least {} items"),
    ("maxItems", "at most {} items"), ("pattern", "matches {}"), ("default", "default {}"),
)  # fmt: skip
_PREFIX: Final = "#/components/schemas/"
Json = Mapping[str, object]


class Node(msgspec.Struct, frozen=True):
    """A value: a field of an object, an item, or a whole body."""

    name: str
    kind: str
    """In words: ``text``, ``list of Key``, ``number or nothing``."""
    required: bool
    description: str
    bounds: str
    options: tuple[str, ...]
    fields: tuple["Node", ...]
    """Of an object, or of a list's items."""


def schema_tree(document: Json, schema: object) -> Node:
    """The tree of a schema of the document; five levels of it."""
    return _node(document, "", _mapping(schema), required=False, depth=0, within=())


def _node(
    document: Json,
    name: str,
    schema: Json,
    *,
    required: bool,
    depth: int,
    within: tuple[str, ...],
) -> Node:
    found, label, within = _resolved(document, schema, within)
    kind, inner, inner_within = _kind(document, found, label, within)
    options = found.get("enum")
    named = tuple(str(one) for one in options) if isinstance(options, list) else ()
    if "const" in found:
        named = (str(found["const"]),)
    return Node(
        name=name,
        kind=kind,
        required=required,
        description=_said(schema) or _said(found),
        bounds=", ".join(_bounds({**found, **schema})),
        options=named[:MAX_OPTIONS],
        fields=tuple(_fields(document, inner, depth, inner_within)),
    )


def _fields(document: Json, schema: Json, depth: int, within: tuple[str, ...]) -> Iterator[Node]:
    if depth >= MAX_DEPTH:
        return
    required = schema.get("required")
    needed = set(required) if isinstance(required, list) else set()
    properties = _mapping(schema.get("properties"))
    for count, (name, given) in enumerate(properties.items()):
        if count >= MAX_FIELDS:
            return
        yield _node(
            document,
            name,
            _mapping(given),
            required=name in needed,
            depth=depth + 1,
            within=within,
        )


def _kind(
    document: Json, schema: Json, label: str, within: tuple[str, ...]
) -> tuple[str, Json, tuple[str, ...]]:
    """In words what it is, and the object whose fields are shown below it."""
    choices = [_mapping(one) for key in ("anyOf", "oneOf") for one in _items(schema.get(key))]
    if choices:
        return _alternatives(document, choices, within)
    parts = [_resolved(document, _mapping(one), within)[0] for one in _items(schema.get("allOf"))]
    if parts:
        return label or "object", _merged(parts), within
    types = schema.get("type")
    if isinstance(types, list):
        words = [_word({**schema, "type": one}) for one in types]
        return " or ".join(words), schema, within
    if types == "array":
        item, item_label, below = _resolved(document, _mapping(schema.get("items")), within)
        kind, inner, below = _kind(document, item, item_label, below)
        return f"list of {kind}", inner, below
    if types == "object" or "properties" in schema:
        values = schema.get("additionalProperties")
        if isinstance(values, dict) and values and "properties" not in schema:
            item, item_label, below = _resolved(document, values, within)
            kind, inner, below = _kind(document, item, item_label, below)
            return f"object: text to {kind}", inner, below
        return label or "object", schema, within
    return _word(schema), schema, within


def _alternatives(
    document: Json, choices: list[Json], within: tuple[str, ...]
) -> tuple[str, Json, tuple[str, ...]]:
    words: list[str] = []
    shown: tuple[Json, tuple[str, ...]] = ({}, within)
    for choice in choices:
        found, label, below = _resolved(document, choice, within)
        kind, inner, below = _kind(document, found, label, below)
        words.append(str(choice["title"]) if "title" in choice and not label else kind)
        if not shown[0] and inner.get("properties"):
            shown = (inner, below)
    return " or ".join(dict.fromkeys(words)), *shown


def _merged(parts: list[Json]) -> Json:
    properties: dict[str, object] = {}
    required: list[object] = []
    for part in parts:
        # Of alternatives the first stands for all: the others say the same in another form.
        choices = _items(part.get("oneOf"))
        chosen = _mapping(choices[0]) if choices else part
        properties |= _mapping(chosen.get("properties"))
        required += _items(chosen.get("required"))
    return {"type": "object", "properties": properties, "required": required}


def _resolved(
    document: Json, schema: Json, within: tuple[str, ...]
) -> tuple[Json, str, tuple[str, ...]]:
    """What the schema's ``$ref`` names, its name, and the names that it lies within. One that lies
    within itself is not unfolded again."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema, "", within
    name = reference.removeprefix(_PREFIX)
    if name in within:
        return {"type": "object"}, _shown(name), within
    schemas = _mapping(_mapping(document.get("components")).get("schemas"))
    return _mapping(schemas.get(name)), _shown(name), (*within, name)


def _shown(name: str) -> str:
    """A schema's name without the modules that make it unique: ``Page[Key]`` for ``Page_Key_``."""
    short = name.rpartition("__")[2] or name
    outer, _, inner = short.rstrip("_").partition("_")
    return f"{outer} of {inner}" if inner and outer.endswith("Page") else short


def _word(schema: Json) -> str:
    kind = schema.get("type")
    if schema.get("format") == "date-time":
        return "time (RFC 3339)"
    words = {
        "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false",
        "null": "null", "array": "list", "object": "object",
    }  # fmt: skip
    return words.get(str(kind), "any value") if "const" not in schema else "text"


def _bounds(schema: Json) -> Iterator[str]:
    for key, words in _BOUNDS:
        value = schema.get(key)
        if value is not None and value not in ("", []):
            yield words.format("false" if value is False else "true" if value is True else value)


def _said(schema: Json) -> str:
    description = schema.get("description")
    return description if isinstance(description, str) else ""


def _mapping(given: object) -> Json:
    return cast("Json", given) if isinstance(given, dict) else {}


def _items(given: object) -> list[object]:
    return given if isinstance(given, list) else []
