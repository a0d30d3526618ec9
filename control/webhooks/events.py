"""Events: what of the audit log is told to receivers, and in which words.

An event is a projection of an audit entry: only the fields named here, never who made the change or
from where. Its id comes from the entry's hash, so that it is the same however often it is made.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from control.webhooks.catalog import CATALOG, KINDS
from protocol.errors import Code, TollwayError
from registry.clock import rfc3339

TEST: Final = "webhook.test"
"""The type of deliveries that a test asks for; every endpoint takes it."""
_ID_DIGITS: Final = 32
_PUBLIC_STATES: Final = frozenset({"published", "deprecated", "retired"})
"""Versions in these states concern consumers; earlier ones are their publisher's."""
_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "key": frozenset(
        {
            "id", "prefix", "application", "label", "environment", "scopes", "models", "networks",
            "expires_at", "created_at", "rotated_at", "revoked_at", "overlaps", "generation",
        }
    ),
    "application": frozenset(
        {"name", "consumer", "title", "origins", "capture", "created_at", "updated_at"}
    ),
    "subscription": frozenset(
        {
            "application", "model", "plan", "state", "requested_plan", "reason", "decided_at",
            "created_at", "updated_at", "percent", "limit", "used", "period", "unit",
        }
    ),
    "pin": frozenset(
        {"application", "model", "version", "reason", "created_at", "updated_at"}
    ),
    "plan": frozenset(
        {
            "name", "title", "description", "rates", "quota", "concurrency", "max_body_bytes",
            "max_rows", "deadline_ms", "scopes", "fail_mode", "price_per_thousand", "approval",
            "built_in", "created_at", "updated_at",
        }
    ),
    "model": frozenset({"name", "title", "description", "created_at", "updated_at"}),
    "version": frozenset({"model", "number", "digest", "state", "loaded", "deprecation"}),
    "evidence": frozenset(
        {
            "model", "version", "digest", "manifest_digest", "rows_name", "rows", "rows_digest",
            "main_metric", "value",
        }
    ),
    "requirements": frozenset({"model", "number", "digest", "sponsor", "criteria"}),
    "approval": frozenset(
        {
            "model", "version", "sponsor", "manifest", "evidence", "requirements", "decision",
            "reason", "at",
        }
    ),
    "deprecation": frozenset(
        {
            "application", "consumer", "model", "version", "since", "sunset", "days_left",
            "successor", "note", "requests", "last_call_at",
        }
    ),
    "alert": frozenset({"kind", "message", "since", "model", "version", "worker", "gateway"}),
    "alias": frozenset({"model", "alias", "version", "revision", "updated_at"}),
    "canary": frozenset(
        {
            "model", "version", "stable", "state", "step", "percent", "counts", "alpha", "e_value",
            "threshold", "tests",
        }
    ),
    "rollout": frozenset({"model", "stable", "canary", "shadows", "revision"}),
}  # fmt: skip
"""What is told of each kind of resource. A field that is not here never leaves."""


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """What of an audit entry events are made from."""

    seq: int
    at_ms: int
    action: str
    kind: str
    key: str
    before: str | None
    after: str | None
    hash: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, ready to be sent, and whom it concerns."""

    id: str
    seq: int
    type: str
    at_ms: int
    body: str
    application: str | None = None
    consumer: str | None = None
    """Of the application; None where the entry does not say."""
    model: str | None = None
    offered: bool = False
    """A matter of a model that consumers may see: they hear of it when they subscribe to it."""


def event_of(row: AuditRow) -> Event | None:
    """The event of an audit entry; None where the entry is no public matter."""
    fields = _FIELDS.get(row.kind)
    if fields is None or not is_public(row.action):
        return None
    before, after = _projected(row.before, fields), _projected(row.after, fields)
    state = {**(before or {}), **(after or {})}
    application, model = _concerned(row, state)
    consumer = row.key if row.kind == "consumer" else _text(state.get("consumer"))
    id = f"evt_{row.hash[:_ID_DIGITS]}"
    data = {"kind": row.kind, "key": row.key, "before": before, "after": after}
    return Event(
        id=id,
        seq=row.seq,
        type=row.action,
        at_ms=row.at_ms,
        body=body_of(row.action, row.at_ms, data),
        application=application,
        consumer=consumer,
        model=model,
        offered=row.kind in ("alias", "version")
        and (row.kind == "alias" or state.get("state") in _PUBLIC_STATES),
    )


def body_of(type: str, at_ms: int, data: Mapping[str, object]) -> str:
    """The JSON that is sent: ``type``, ``timestamp`` and ``data``, as the specification has it."""
    payload = {"type": type, "timestamp": rfc3339(at_ms), "data": data}
    return msgspec.json.encode(payload).decode()


def is_public(action: str) -> bool:
    """Whether endpoints may hear of this action."""
    return action in CATALOG


def matches(patterns: Iterable[str], type: str) -> bool:
    """Whether one of the patterns means the type."""
    wanted = {type, f"{type.partition('.')[0]}.*", "*"}
    return any(pattern in wanted for pattern in patterns)


def check_patterns(patterns: Iterable[str]) -> list[str]:
    """The patterns without repetitions; raises ``INVALID`` for one that nothing can match."""
    found = list(dict.fromkeys(patterns))
    for pattern in found:
        kind, _, verb = pattern.partition(".")
        if pattern != "*" and pattern not in CATALOG and not (verb == "*" and kind in KINDS):
            raise TollwayError(
                Code.INVALID,
                f"events: there is no event type {pattern!r}; GET /api/v1/webhooks/event-types "
                "lists them, 'KIND.*' means all of a kind and '*' all",
            )
    return found


def _concerned(row: AuditRow, state: Mapping[str, object]) -> tuple[str | None, str | None]:
    """Application and model that the entry is about."""
    first, _, second = row.key.partition("/")
    match row.kind:
        case "application":
            return row.key, None
        case "key":
            return _text(state.get("application")), None
        case "subscription" | "pin":
            return first, second
        case "deprecation":
            return first, second.partition("/")[0]
        case "model" | "rollout":
            return None, row.key
        case "version" | "alias" | "alert" | "evidence" | "requirements" | "approval" | "canary":
            return None, _text(state.get("model")) or first
    return None, None


def _projected(text: str | None, fields: frozenset[str]) -> dict[str, object] | None:
    if text is None:
        return None
    state = msgspec.json.decode(text, type=dict[str, object])
    return {name: value for name, value in state.items() if name in fields}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
