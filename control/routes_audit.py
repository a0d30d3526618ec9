"""Routes of the audit log: read, exported, verified, and asked which version answered when."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import StreamingResponse

from control.audit import formats
from control.audit.answered import Answer, Answered
from control.audit.log import AuditLog
from control.middleware import require
from control.resources import Moment, Page, milliseconds
from control.routes_conventions import INSPECTORS, errors
from control.routes_parts import part
from registry.access import EVERYONE, Actor
from registry.clock import rfc3339
from registry.store.audit_read import Filter, Recorded

Text = Annotated[str | None, Query(max_length=255)]


class AuditItem(BaseModel):
    """An entry of the log. `before` and `after` are the resource, null where there is none."""

    model_config = ConfigDict(frozen=True)

    seq: int
    at: str
    actor: str
    role: str
    address: str
    request_id: str
    reason: str
    action: str
    kind: str
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    hash: str

    @classmethod
    def of(cls, recorded: Recorded) -> "AuditItem":
        """The entry as the API shows it."""
        fields = msgspec.structs.asdict(recorded.entry)
        at_ms = fields.pop("at_ms")
        del fields["previous"]
        for name in ("before", "after"):
            text = fields[name]
            fields[name] = None if text is None else msgspec.json.decode(text)
        return cls(at=rfc3339(at_ms), hash=recorded.hash, **fields)


class CheckpointItem(BaseModel):
    """A signed statement of where the log ended."""

    number: int
    seq: int
    hash: str
    at: str
    signer: str
    signature: str


class FindingItem(BaseModel):
    """Something that is not as it was recorded, and the entry where it shows."""

    seq: int
    problem: str
    detail: str


class VerificationItem(BaseModel):
    """How the log stands. `ok` is null until this process has verified it for the first time."""

    entries: int
    hash: str
    checkpoint: CheckpointItem | None
    ok: bool | None
    verified_at: str | None
    verified_entries: int | None
    findings: list[FindingItem]


def _filter(
    actor: Text = None,
    action: Annotated[
        str | None, Query(max_length=64, description="Such as `alias.moved`.")
    ] = None,
    kind: Annotated[str | None, Query(max_length=32, description="Such as `alias`.")] = None,
    key: Annotated[
        str | None, Query(max_length=255, description="Which one: `credit-risk/stable`.")
    ] = None,
    start: Annotated[
        Moment | None, Query(alias="from", description="Entries at or after this time.")
    ] = None,
    to: Annotated[Moment | None, Query(description="Entries before this time.")] = None,
) -> Filter:
    return Filter(
        actor=actor,
        action=action,
        kind=kind,
        key=key,
        from_ms=milliseconds(start),
        to_ms=milliseconds(to),
    )


Wanted = Annotated[Filter, Depends(_filter)]


TheLog = Annotated[AuditLog, Depends(part(lambda services: services.audit))]
TheAnswers = Annotated[Answered, Depends(part(lambda services: services.answered))]


def audit_router() -> APIRouter:
    """``/audit``. The log itself is for admins and auditors: entries hold what every tenant did."""
    router = APIRouter(tags=["audit"])
    reads = [Depends(require(*INSPECTORS))]
    _add_log(router, reads)

    @router.get("/audit/answered", responses=errors(404, 422))
    def get_answered(
        answered: TheAnswers,
        actor: Annotated[Actor, Depends(require(*EVERYONE))],
        application: Annotated[str, Query(max_length=63)],
        model: Annotated[str, Query(max_length=63)],
        at: Annotated[Moment, Query(description="The moment (RFC 3339).")],
    ) -> Answer:
        """Say which version answered an application's calls at a moment, and what usage counted.

        For admins and auditors, for who manages the model, and for the application's consumer.
        """
        at_ms = milliseconds(at)
        assert at_ms is not None
        return answered.at(actor, application, model, at_ms)

    return router


def _add_log(router: APIRouter, reads: list[Any]) -> None:
    @router.get("/audit", dependencies=reads, responses=errors(422))
    def list_entries(
        log: TheLog,
        which: Wanted,
        limit: Annotated[int, Query(ge=1, le=1000, description="Items on the page.")] = 100,
        after: Annotated[
            int | None, Query(ge=0, lt=1 << 53, description="`next` of the page before.")
        ] = None,
    ) -> Page[AuditItem]:
        """List entries of the audit log, newest first."""
        found = log.page(which, after, limit + 1)
        items = [AuditItem.of(one) for one in found[:limit]]
        return Page(items=items, next=str(items[-1].seq) if len(found) > limit else None)

    @router.get("/audit/export", dependencies=reads, responses=errors(422))
    def export_entries(
        log: TheLog, which: Wanted, format: Literal["jsonl", "csv"] = "jsonl"
    ) -> StreamingResponse:
        """Download entries, oldest first.

        All of them as JSON lines come with their checkpoints: `tollwayd audit verify --file`
        verifies that archive. A choice of entries, and CSV, are for reading.
        """
        media_type = "application/jsonl" if format == "jsonl" else "text/csv; charset=utf-8"
        name = f"audit.{format}"
        return StreamingResponse(
            _exported(log, which, format),
            media_type=media_type,
            headers={
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
            },
        )

    @router.get("/audit/verify", dependencies=reads, responses=errors())
    def get_verification(log: TheLog) -> VerificationItem:
        """Say how the log stands: its end, the last checkpoint, the last verification."""
        standing = log.standing()
        checkpoint, verified = standing.checkpoint, standing.verified
        report = None if verified is None else verified.report
        return VerificationItem(
            entries=standing.entries,
            hash=standing.hash,
            checkpoint=None
            if checkpoint is None
            else CheckpointItem(at=rfc3339(checkpoint.at_ms), **_shown(checkpoint)),
            ok=None if report is None else report.ok,
            verified_at=None if verified is None else rfc3339(verified.at_ms),
            verified_entries=None if report is None else report.entries,
            findings=[]
            if report is None
            else [FindingItem(**msgspec.structs.asdict(one)) for one in report.findings],
        )


def _shown(checkpoint: msgspec.Struct) -> dict[str, Any]:
    fields = msgspec.structs.asdict(checkpoint)
    return {name: fields[name] for name in ("number", "seq", "hash", "signer", "signature")}


def _exported(log: AuditLog, which: Filter, format: str) -> Iterator[bytes]:
    if format == "csv":
        yield formats.csv_header()
        for recorded in log.each(which):
            yield formats.csv_row(recorded)
    elif which == Filter():
        yield from log.archive()
    else:
        for recorded in log.each(which):
            yield formats.entry_line(recorded)
