"""When a key was last used: learned from usage as it comes in, never by a write per request."""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from control.store.tables import api_keys
from protocol.usage import UsageRecord

COARSE_MS: Final = 60_000
"""A key's moment is written again when it is at least this much newer."""


def touch_keys(connection: Connection, records: Iterable[UsageRecord], *, is_sqlite: bool) -> None:
    """Move ``last_used_ms`` of the keys in a batch: one statement, and none of a row per minute.

    Keys that another transaction holds at this moment are passed over: taking in usage never waits
    for a rotation, and the next batch moves them.
    """
    newest: dict[str, int] = {}
    for record in records:
        if record.key and record.at_ms > newest.get(record.key, 0):
            newest[record.key] = record.at_ms
    if not newest:
        return
    used = msgspec.json.encode(newest).decode() if is_sqlite else newest
    connection.execute(_statement(is_sqlite=is_sqlite), {"used": used, "ids": list(newest)})


@lru_cache  # making the statement takes longer than executing it
def _statement(*, is_sqlite: bool) -> sa.Update:
    if is_sqlite:
        each = sa.func.json_each(sa.bindparam("used", type_=sa.String))
    else:
        each = sa.func.jsonb_each_text(sa.bindparam("used", type_=postgresql.JSONB))
    used = each.table_valued("key", "value", name="used")
    at_ms = sa.cast(used.c.value, sa.BigInteger)
    older = sa.or_(api_keys.c.last_used_ms.is_(None), api_keys.c.last_used_ms <= at_ms - COARSE_MS)
    free = (
        sa.select(api_keys.c.id)
        .where(api_keys.c.id.in_(sa.bindparam("ids", expanding=True)))
        .with_for_update(skip_locked=True, key_share=True)
    )
    return (
        sa.update(api_keys)
        .values(last_used_ms=at_ms)
        .where(api_keys.c.id == used.c.key, older, api_keys.c.id.in_(free))
    )
