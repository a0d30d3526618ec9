"""What sponsors are asked, over all models within reach, and what they have decided."""

from functools import partial
from typing import Final, Literal

import msgspec

from protocol.configuration import VersionState
from registry.access import Actor
from registry.gates import STABLE, ApprovalStanding, standing_of
from registry.store import aliases as alias_store
from registry.store import approval_desk as store
from registry.store import audit_read
from registry.store import evidence as evidence_store
from registry.store import requirements as requirements_store
from registry.store.database import Database, Transaction
from registry.store.requirements import RequirementsRecord
from registry.store.versions import VersionRecord

Which = Literal["waiting", "decided"]
MAX_LOOKED_AT: Final = 500
"""Versions that a page looks at, however few of them belong on it."""
ASKED: Final = "approval.requested"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked for a decision, when, and what they said."""

    by: str
    at: int
    note: str


class _Told(msgspec.Struct, frozen=True):
    """The part of ``registry.approvals.ApprovalAudit`` that says why."""

    reason: str = ""


class Matter(msgspec.Struct, frozen=True, kw_only=True):
    """A version that awaits its sponsor's decision, or has one."""

    model: str
    title: str
    version: int
    state: VersionState
    description: str
    created_by: str
    created_at: int
    requirements: int
    stable: int | None
    standing: ApprovalStanding
    asked: Asked | None
    """None: nobody asked by name; a version that is validated waits all the same."""


class DeskPage(msgspec.Struct, frozen=True):
    """A page; ``next`` None: it is the last. A page may be short and still have a next one."""

    items: list[Matter]
    next: tuple[str, int] | None


class Desk:
    """Reads what is asked of sponsors. Thread-safe; calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, actor: Actor, which: Which, after: tuple[str, int], limit: int) -> DeskPage:
        """Matters by model and version: of a sponsor, those in which they are the sponsor; of
        others, those of the models that they manage.

        A version waits while it is validated, newer than stable and not decided on, or its
        approval holds no longer, or somebody asked for a decision after the last.
        """
        with self._database.read() as connection:
            found = store.candidates(
                connection, actor.models, after, MAX_LOOKED_AT + 1, decided=which == "decided"
            )
            agreed: dict[str, RequirementsRecord | None] = {}
            items: list[Matter] = []
            for index, (version, title) in enumerate(found):
                if len(items) == limit or index == MAX_LOOKED_AT:
                    before = found[index - 1][0]
                    return DeskPage(items, (before.model, before.number))
                if version.model not in agreed:
                    agreed[version.model] = requirements_store.present(connection, version.model)
                matter = _matter(connection, version, title, agreed[version.model])
                mine = actor.role != "sponsor" or matter.standing.sponsor == actor.name
                if mine and _waits(matter) == (which == "waiting"):
                    items.append(matter)
        return DeskPage(items, None)


def _matter(
    connection: Transaction, version: VersionRecord, title: str, agreed: RequirementsRecord | None
) -> Matter:
    evidence = partial(evidence_store.digest_of, connection, version.model, version.number)
    stable = alias_store.get(connection, version.model, STABLE)
    return Matter(
        model=version.model,
        title=title,
        version=version.number,
        state=version.state,
        description=version.manifest.description,
        created_by=version.created_by,
        created_at=version.created_at,
        requirements=0 if agreed is None else agreed.number,
        stable=None if stable is None else stable.version,
        standing=standing_of(connection, version, agreed, evidence),
        asked=_asked(connection, version),
    )


def _asked(connection: Transaction, version: VersionRecord) -> Asked | None:
    """The wish for a decision, if none was taken since."""
    of_it = audit_read.Filter(kind="approval", key=f"{version.model}/{version.number}")
    newest = audit_read.page(connection, of_it, None, 1)
    if not newest or newest[0].entry.action != ASKED:
        return None
    entry = newest[0].entry
    told = msgspec.json.decode(entry.after or "{}", type=_Told)
    return Asked(by=entry.actor, at=entry.at_ms, note=told.reason)


def _waits(matter: Matter) -> bool:
    if matter.standing.state in {"given", "not_needed"}:
        return False
    if matter.asked is not None:
        return True
    newer = matter.stable is None or matter.version > matter.stable
    return matter.state == "validated" and matter.standing.state != "refused" and newer
