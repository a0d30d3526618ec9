"""Changing the secret of a key while its id stays."""

from collections.abc import Sequence
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.key_rows import KeyRow, Overlap, find_key, publish_key, withdraw
from control.store.tables import api_keys, key_overlaps
from protocol.errors import Code, TollwayError
from registry.clock import Clock
from registry.store.database import Database

MAX_OVERLAPS: Final = 5
"""Earlier secrets of one key that may work at once."""
_SECOND_MS: Final = 1000


class FreshSecret(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a new secret, and who asked for it."""

    hash: str
    prefix: str
    rotated_by: str
    rotation_key: str | None
    """The Idempotency-Key of the request."""


def rotate_row(
    connection: Connection, row: KeyRow, fresh: FreshSecret, overlap_s: int, now: int
) -> KeyRow:
    """Put ``fresh`` in the place of the secret of a key that the caller has locked.

    Earlier secrets work for ``overlap_s`` more seconds at most. ``CONFLICT`` when too many do.
    """
    earlier = [one for one in row.overlaps if one.ends_ms > now]
    connection.execute(sa.delete(key_overlaps).where(key_overlaps.c.key == row.id))
    kept: tuple[Overlap, ...] = ()
    if overlap_s > 0:
        if len(earlier) >= MAX_OVERLAPS:
            raise TollwayError(
                Code.CONFLICT,
                f"{MAX_OVERLAPS} earlier secrets of the key still work: wait for one to end, "
                "or rotate with overlap_s 0, which ends all of them",
            )
        # Gateways count in seconds: cut to whole ones, since the promise is "at most".
        end = (now + overlap_s * _SECOND_MS) // _SECOND_MS * _SECOND_MS
        end = end if row.expires_ms is None else min(end, row.expires_ms)
        last = Overlap(row.generation, row.hash, row.prefix, end)
        kept = _ended_by([*earlier, last], end)
        connection.execute(
            sa.insert(key_overlaps),
            [{"key": row.id, **msgspec.structs.asdict(one)} for one in kept],
        )
    values = {**msgspec.structs.asdict(fresh), "generation": row.generation + 1, "rotated_ms": now}
    connection.execute(sa.update(api_keys).where(api_keys.c.id == row.id).values(values))
    rotated = msgspec.structs.replace(row, **values, overlaps=kept)
    publish_key(connection, rotated, now)
    held = {one.generation for one in kept}
    over = [*(one.generation for one in row.overlaps), row.generation]
    withdraw(connection, row.id, [number for number in over if number not in held])
    return rotated


def shorten_overlaps(connection: Connection, key: KeyRow) -> KeyRow:
    """Have no earlier secret outlive the key, whose expiry may have come nearer."""
    end = key.expires_ms
    if end is None or all(one.ends_ms <= end for one in key.overlaps):
        return key
    connection.execute(
        sa.update(key_overlaps)
        .where(key_overlaps.c.key == key.id, key_overlaps.c.ends_ms > end)
        .values(ends_ms=end)
    )
    return msgspec.structs.replace(key, overlaps=_ended_by(key.overlaps, end))


def drop_ended_overlaps(database: Database, clock: Clock) -> int:
    """Forget earlier secrets whose time is over. Gateways refuse them already. How many went."""
    dropped = 0
    query = sa.select(key_overlaps.c.key).where(key_overlaps.c.ends_ms <= clock())
    with database.read() as connection:
        affected = sorted(set(connection.execute(query).scalars()))
    for id in affected:
        with database.write() as connection:
            row = find_key(connection, id, lock=True)
            now = clock()
            over = [one.generation for one in row.overlaps if one.ends_ms <= now] if row else []
            ended = sa.and_(key_overlaps.c.key == id, key_overlaps.c.generation.in_(over))
            connection.execute(sa.delete(key_overlaps).where(ended))
            withdraw(connection, id, over)
            dropped += len(over)
    return dropped


def _ended_by(overlaps: Sequence[Overlap], end: int) -> tuple[Overlap, ...]:
    return tuple(msgspec.structs.replace(one, ends_ms=min(one.ends_ms, end)) for one in overlaps)
