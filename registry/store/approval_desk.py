"""SQL of what sponsors are asked: versions of models whose present requirements name a sponsor."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protocol.configuration import FINAL_STATES
from registry.store.audit import audit
from registry.store.tables import approvals, models, requirements, versions
from registry.store.versions import VersionRecord, version_record

FIRST: Final = ("", 0)
"""Before every version."""
_NAMES_ONE: Final = '%"sponsor":"%'
"""In canonical JSON, where text has no bare quotation mark: a sponsor, and not null."""


def candidates(
    connection: Connection,
    reach: frozenset[str] | None,
    after: tuple[str, int],
    limit: int,
    *,
    decided: bool,
) -> list[tuple[VersionRecord, str]]:
    """At most ``limit`` versions by model and number, from the one following ``after``, each with
    its model's title: those that were decided on, or with ``decided`` False those that are
    validated, or of which a decision was asked or taken. ``reach``: the models they may be of;
    None: any."""
    newest = (
        sa.select(requirements.c.model, sa.func.max(requirements.c.number).label("number"))
        .group_by(requirements.c.model)
        .subquery()
    )
    was_decided = sa.exists().where(
        approvals.c.model == versions.c.model, approvals.c.number == versions.c.number
    )
    # Decisions and wishes for one: whatever was said of the version.
    key = versions.c.model + "/" + sa.cast(versions.c.number, sa.String)
    was_spoken_of = sa.exists().where(audit.c.kind == "approval", audit.c.key == key)
    wanted = was_decided if decided else sa.or_(versions.c.state == "validated", was_spoken_of)
    query = (
        sa.select(versions, models.c.title.label("model_title"))
        .join(models, models.c.name == versions.c.model)
        .join(newest, newest.c.model == versions.c.model)
        .join(
            requirements,
            sa.and_(
                requirements.c.model == newest.c.model, requirements.c.number == newest.c.number
            ),
        )
        .where(
            requirements.c.document.like(_NAMES_ONE),
            versions.c.state.not_in(FINAL_STATES),
            wanted,
            sa.tuple_(versions.c.model, versions.c.number) > sa.tuple_(*after),
        )
        .order_by(versions.c.model, versions.c.number)
        .limit(limit)
    )
    if reach is not None:
        query = query.where(versions.c.model.in_(sorted(reach)))
    return [(version_record(row), row.model_title) for row in connection.execute(query)]
