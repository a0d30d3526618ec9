"""SQL of uploads under way."""

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from registry.store.tables import uploads


class UploadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An announced upload: which bytes it will bring, who brings them, until when."""

    id: str
    digest: str
    size: int
    created_by: str
    created_at: int
    expires_at: int


def insert(connection: Connection, record: UploadRecord) -> None:
    """Add an upload."""
    connection.execute(sa.insert(uploads).values(msgspec.structs.asdict(record)))


def get(connection: Connection, id: str) -> UploadRecord | None:
    """The upload, or None."""
    row = connection.execute(sa.select(uploads).where(uploads.c.id == id)).first()
    return None if row is None else _record(row)


def extend(connection: Connection, id: str, expires_at: int) -> None:
    """Put off the upload's expiry."""
    connection.execute(sa.update(uploads).where(uploads.c.id == id).values(expires_at=expires_at))


def delete(connection: Connection, id: str) -> bool:
    """Forget the upload. Returns whether there was one."""
    return connection.execute(sa.delete(uploads).where(uploads.c.id == id)).rowcount == 1


def expired(connection: Connection, now: int) -> list[str]:
    """Ids whose time is over."""
    query = sa.select(uploads.c.id).where(uploads.c.expires_at <= now)
    return list(connection.execute(query).scalars())


def known(connection: Connection) -> set[str]:
    """Ids of every upload."""
    return set(connection.execute(sa.select(uploads.c.id)).scalars())


def _record(row: sa.Row[tuple[object, ...]]) -> UploadRecord:
    return UploadRecord(
        id=row.id,
        digest=row.digest,
        size=row.size,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
