"""Calls that leave an entry in the audit log: their shape, and steps that all of them take."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from tests.control.running import Control

PASSWORD = "correct horse battery"
ANN = ("ann", "publisher")


class Call(NamedTuple):
    """The request that is judged: its path, and what httpx takes beside it."""

    path: str
    json: Any = None
    headers: Mapping[str, str] = {}
    own_reason: str | None = None
    """The reason that the body gives, which goes before the header's."""
    secret: str | None = None
    """Whose request it is: a bearer token, empty for none at all, None for the admin's."""
    actor: tuple[str, str] = ("admin", "admin")
    """Name and role that the entry must have."""


def simple(path: str, json: object = None) -> Callable[[Control], Awaitable[Call]]:
    """A call that needs nothing before it."""

    async def prepare(_control: Control) -> Call:
        return Call(path, json)

    return prepare


async def done(control: Control, method: str, path: str, **given: Any) -> dict[str, Any]:
    answer = await control.admin.request(method, f"/api/v1{path}", **given)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found
