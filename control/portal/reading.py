"""A request that a reader makes from the reference, and its answer as text. Pure."""

import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

import msgspec

from control.portal.reference import Operation
from protocol.errors import Code, TollwayError

MAX_SHOWN: Final = 64_000
"""Characters of an answer that are shown."""
FIELD: Final = "p-"
"""What the names of a form's parameters begin with: an operation may call one ``operation``."""


class Asked(msgspec.Struct, frozen=True):
    """The request that a form describes."""

    path: str
    """With its parameters filled in, not quoted."""
    query: dict[str, str]

    @property
    def target(self) -> str:
        """Path and query as they go over the wire."""
        query = urlencode(self.query)
        return quote(self.path, safe="/") + (f"?{query}" if query else "")


def asked(operation: Operation, given: Mapping[str, str]) -> Asked:
    """The request of ``operation`` with the parameters of a form, where empty ones are left out.

    Raises ``INVALID`` for a path parameter that is missing, or that would lead elsewhere.
    """
    path = operation.path
    query: dict[str, str] = {}
    for parameter in operation.parameters:
        value = given.get(FIELD + parameter.name, "").strip()
        if parameter.place == "path":
            if not value or "/" in value or value in {".", ".."}:
                raise TollwayError(Code.INVALID, f"{parameter.name}: fill it in, without a '/'")
            path = path.replace(f"{{{parameter.name}}}", value)
        elif parameter.place == "query" and value:
            query[parameter.name] = value
    return Asked(path, query)


def pretty(content: bytes) -> str:
    """JSON with an item a line; what is none as it is. Cut where it is long."""
    try:
        text = json.dumps(json.loads(content), indent=2, ensure_ascii=False)
    except ValueError:
        text = content.decode(errors="replace")
    if len(text) > MAX_SHOWN:
        return f"{text[:MAX_SHOWN]}\n... ({len(text) - MAX_SHOWN:,} more characters)"
    return text
