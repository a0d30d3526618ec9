"""Requests for every route of an OpenAPI document, with one text wherever text may stand."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

Schema = dict[str, Any]
MAX_DEPTH = 6


class Operation(NamedTuple):
    """A route: its path has ``{parameters}``."""

    method: str
    path: str
    queries: tuple[str, ...]
    body: Schema | None
    """Schema of its JSON body, references and all."""

    def filled(self, value: str) -> str:
        """The path with ``value`` for every parameter."""
        return re.sub(r"\{\w+\}", value, self.path)


def operations(document: Schema) -> Iterator[Operation]:
    """Every operation of the document."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            queries = tuple(
                p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"
            )
            content = operation.get("requestBody", {}).get("content", {})
            body = content.get("application/json", {}).get("schema")
            yield Operation(method.upper(), path, queries, body)


def example(document: Schema, schema: Schema, text: str, depth: int = 0) -> Any:
    """A value in the schema's shape in which every free text is ``text``."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = document["components"]["schemas"][name]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            schema = schema[several][0]
            return example(document, schema, text, depth + 1)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if depth > MAX_DEPTH:
        return None
    match schema.get("type"):
        case "object":
            members = {
                name: example(document, member, text, depth + 1)
                for name, member in schema.get("properties", {}).items()
            }
            if isinstance(schema.get("additionalProperties"), dict):
                more = example(document, schema["additionalProperties"], text, depth + 1)
                members[text] = more
            return members
        case "array":
            return [example(document, schema.get("items", {}), text, depth + 1)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case _:
            return text
