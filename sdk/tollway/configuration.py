"""Declarative configuration on the server: ``client.configuration``."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from tollway import errors
from tollway.configuration_file import ConfigurationFile
from tollway.transport import Transport

PATH = "/api/v1/configuration"
APPLY_S = 600.0
"""How long applying may take, where the client's own limit is not longer: thousands of items are
one transaction."""
_ALL = frozenset(range(400, 500))
_INVALID = 422


class FieldChange(msgspec.Struct, frozen=True):
    """A field's value before and after; None: there was, or will be, none."""

    before: object
    after: object


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationChange:
    """One resource that differs."""

    kind: str
    key: str
    action: Literal["create", "update", "delete"]
    fields: dict[str, FieldChange]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationResult:
    """What was changed, or with ``applied`` False what would be."""

    applied: bool
    changes: tuple[ConfigurationChange, ...]


class _FieldError(msgspec.Struct):
    field: str = ""
    message: str = ""


class _Problem(msgspec.Struct):
    detail: str = ""
    errors: list[_FieldError] | None = None


class ConfigurationClient:
    """The part of the management API about configurations."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def export(self) -> dict[str, object]:
        """The present state, as far as the token reaches it."""
        return self._transport.get(PATH, dict[str, object])

    def apply(
        self,
        wanted: ConfigurationFile,
        *,
        dry_run: bool = False,
        prune: bool = False,
        reason: str = "",
    ) -> ConfigurationResult:
        """Make everything as the files say, in one transaction, or nothing.

        Refusals name the file and line of what is refused. May take minutes for thousands of items:
        it is waited for, for 10 minutes or the client's own limit if that is longer.
        """
        params = {"dry_run": str(dry_run).lower(), "prune": str(prune).lower()}
        if reason:
            params["reason"] = reason
        response = self._transport.request(
            "PUT",
            PATH,
            json=wanted.data,
            params=params,
            accept=_ALL,
            timeout_s=max(APPLY_S, self._transport.timeout_s),
        )
        if response.is_success:
            return self._transport.read(response, ConfigurationResult)
        error = errors.from_response(
            response.status_code,
            response.content,
            request_id=response.headers.get("x-request-id", ""),
            retry_after=response.headers.get("retry-after"),
        )
        raise type(error)(
            _located(response.content, wanted) or error.message,
            status=error.status,
            code=error.code,
            request_id=error.request_id,
            retry_after_s=error.retry_after_s,
            hinted=False,
        )


def _located(body: bytes, wanted: ConfigurationFile) -> str | None:
    """The refusal with file and line; None where it is about none of the file's items."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError:
        return None
    if problem.errors:
        found = [(one.field.removeprefix("body."), one.message) for one in problem.errors]
    else:
        path, _, message = problem.detail.partition(": ")
        found = [(path, message)]
    lines = []
    for path, message in found:
        place = wanted.place(path)
        if place is None:
            return None
        lines.append(f"{place}: {path}: {message}")
    return "; ".join(lines)
