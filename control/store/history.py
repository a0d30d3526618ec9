"""What control itself tells the audit log: which release and schema the database is used by."""

from pathlib import Path
from typing import Final

import msgspec
from sqlalchemy.engine import make_url

from control.store import schema
from protocol.errors import Code, TollwayError
from registry.store import audit, audit_read
from registry.store.database import Database

_KIND: Final = "system"
_KEY: Final = "tollway"


class Release(msgspec.Struct, frozen=True):
    """The software that uses the database."""

    version: str
    schema: str


def record_release(database: Database, now_ms: int, version: str) -> bool:
    """Record the release unless it is the one that used the database last. Returns whether it did.

    Starts of the same release are not recorded: a process that keeps dying would fill the log.
    """
    release = Release(version, schema.HEAD)
    with database.read() as connection:
        known = audit.newest_after(connection, _KIND, _KEY)
    if known == msgspec.json.encode(release):
        return False
    earlier = None if known is None else msgspec.json.decode(known, type=Release)
    action = "system.installed" if earlier is None else "system.upgraded"
    with database.write() as connection:
        audit.record(connection, action, _KIND, _KEY, at_ms=now_ms, before=earlier, after=release)
    return True


def open_log(url: str) -> Database:
    """The database at ``url`` with an audit log in it; never makes one.

    Raises ``NOT_FOUND`` where there is none.
    """
    missing = TollwayError(
        Code.NOT_FOUND,
        "there is no audit log in this database: name the data directory with --data, or the "
        "database with TOLLWAY_DATABASE_URL",
    )
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise missing
    database = Database(url)
    with database.read() as connection:
        if not audit_read.exists(connection):
            raise missing
    return database
