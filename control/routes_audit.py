"""Routes of the audit log: read, exported, verified, and asked which version answered when."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import anyio.to_thread
import msgspec
from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict
from starlette.responses import StreamingResponse

from control.audit import formats
from control.audit.answered import Answer, Answered
from control.audit.log import AuditLog, Standing
from control.jobs import Jobs
from control.middleware import require
from control.resources import Moment, Page, milliseconds
from control.routes_conventions import INSPECTORS, errors
from control.routes_parts import part
from protocol.errors import Code, TollwayError
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


class RunningItem(BaseModel):
    """A verification under way: how many entries and checkpoints it has been through."""

    began_at: str
    checked: int
    entries: int


class VerificationItem(BaseModel):
    """How the log stands. `ok` is null until this process has verified it for the first time."""

    entries: int
    hash: str
    checkpoint: CheckpointItem | None
    ok: bool | None
    verified_at: str | None
    verified_entries: int | None
    findings: list[FindingItem]
    further_findings: int
    """Findings beyond those that are listed."""
    running: RunningItem | None


async def _filter(
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
    search: Annotated[
        str | None,
        Query(
            min_length=2,
            max_length=100,
            description="Text that stands anywhere in an entry: each page looks at a bounded "
            "number of entries, so that it may have fewer items than asked for, or none, and a "
            "`next` all the same.",
        ),
    ] = None,
) -> Filter:
    return Filter(
        actor=actor,
        action=action,
        kind=kind,
        key=key,
        from_ms=milliseconds(start),
        to_ms=milliseconds(to),
        search=search,
    )


Wanted = Annotated[Filter, Depends(_filter)]


TheLog = Annotated[AuditLog, Depends(part(lambda services: services.audit))]
TheJobs = Annotated[Jobs, Depends(part(lambda services: services.jobs))]
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
        reached = 0
        if which.search is None:
            found = log.page(which, after, limit + 1)
        else:
            found, reached = log.search(which, after, limit + 1)
        items = [AuditItem.of(one) for one in found[:limit]]
        if len(found) > limit:
            return Page(items=items, next=str(items[-1].seq))
        return Page(items=items, next=str(reached) if reached > 1 else None)

    @router.get("/audit/entries/{seq}", dependencies=reads, responses=errors(404, 422))
    def get_entry(
        log: TheLog, seq: Annotated[int, Path(ge=1, lt=1 << 53, description="Its number.")]
    ) -> AuditItem:
        """Read one entry."""
        found = log.page(Filter(), seq + 1, 1)
        if not found or found[0].entry.seq != seq:
            raise TollwayError(Code.NOT_FOUND, f"the audit log has no entry {seq}")
        return AuditItem.of(found[0])

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
        return _verification(log.standing())

    @router.post("/audit/verify", status_code=202, dependencies=reads, responses=errors(409))
    async def start_verification(log: TheLog, jobs: TheJobs) -> VerificationItem:
        """Verify the whole log now, beside other work: `GET` says how far it is, and what it found.

        It runs in the control process that was asked, one at a time, and changes nothing; damage is
        recorded in the log as the regular verification does.
        """
        if not await anyio.to_thread.run_sync(log.begin):
            raise TollwayError(
                Code.CONFLICT, "a verification is under way: wait until it has ended"
            )
        jobs.once("audit-verify")
        return _verification(await anyio.to_thread.run_sync(log.standing))


def _verification(standing: Standing) -> VerificationItem:
    checkpoint, verified, running = standing.checkpoint, standing.verified, standing.running
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
        further_findings=0 if report is None else report.further,
        running=None
        if running is None
        else RunningItem(
            began_at=rfc3339(running.at_ms), checked=running.checked, entries=running.entries
        ),
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
