"""Plans, as the management API has them."""

import builtins
from collections.abc import Mapping

import msgspec

from tollway import errors
from tollway.registry import check_name, listing
from tollway.resources import Plan
from tollway.transport import Transport

_NOT_FOUND = 404
_PATH = "/api/v1/plans"
FIELDS = (
    "title",
    "description",
    "rates",
    "quota",
    "concurrency",
    "max_body_bytes",
    "max_rows",
    "deadline_ms",
    "scopes",
    "fail_mode",
    "price_per_thousand",
    "approval",
)
"""What can be set."""


class Plans:
    """Reads and writes plans."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> builtins.list[Plan]:
        """Every plan, by name."""
        return [*listing(self._transport, _PATH, Plan)]

    def get(self, name: str) -> Plan:
        """The plan of this name."""
        return self._transport.get(self._place(name), Plan)

    def set(self, name: str, changes: Mapping[str, object]) -> Plan:
        """Change a plan on what is there now, or make it. ``ConflictError`` when somebody else was
        faster."""
        unknown = sorted(set(changes) - set(FIELDS))
        if unknown:
            raise errors.InvalidRequestError(
                f"a plan has no field {', '.join(unknown)}; it has {', '.join(FIELDS)}"
            )
        place = self._place(name)
        found = self._transport.request("GET", place, accept=frozenset({_NOT_FOUND}))
        body: dict[str, object] = {}
        headers = {"If-None-Match": "*"}
        if found.is_success:
            present = msgspec.json.decode(found.content, type=dict[str, object])
            body = {field: present[field] for field in FIELDS if field in present}
            headers = {"If-Match": found.headers["ETag"]}
        response = self._transport.request("PUT", place, json={**body, **changes}, headers=headers)
        return self._transport.read(response, Plan)

    def delete(self, name: str) -> None:
        """Delete a plan that nothing uses."""
        self._transport.request("DELETE", self._place(name))

    @staticmethod
    def _place(name: str) -> str:
        return f"{_PATH}/{check_name(name, 'plan')}"
