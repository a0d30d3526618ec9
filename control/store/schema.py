"""Brings the database to the schema of this version of the software."""

import re
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

import control.store.canary_tables
import control.store.capture_tables
import control.store.disagreement_tables
import control.store.evaluation_tables
import control.store.gateway_tables
import control.store.issuer_tables
import control.store.notices
import control.store.pin_rows
import control.store.receipt_tables
import control.store.tables
import control.store.usage_tables
import control.store.user_tables
import control.store.webhook_tables  # noqa: F401
import registry.store.rollout_tables
import registry.store.tables  # noqa: F401 -- all add their tables to the metadata
from control.store.republish import republish
from protocol.errors import Code, TollwayError
from registry.store import audit, changes
from registry.store.database import Database

HEAD: Final = "0035"
"""The newest migration. Written here so that a start that needs none does not load Alembic."""
MIGRATIONS: Final = Path(__file__).parent / "migrations"
_FILE = re.compile(r"(\d{4})_\w+\.py")
_LOCK: Final = 0x746F6C6D  # an arbitrary number, the same in every control process


def upgrade(database: Database) -> bool:
    """Run the migrations that are missing, all or none. Returns whether there were any.

    Raises ``CONFLICT`` for a database that a newer version of the software has written.
    """
    with database.read() as connection:
        present = revision(connection)
    if present == HEAD:
        return False
    if present is not None and present not in known_revisions():
        raise TollwayError(
            Code.CONFLICT,
            f"the database belongs to a newer version of Tollway (schema {present}, this version "
            f"knows schemas up to {HEAD}): start that version, or restore a backup",
        )
    with database.write() as connection:
        if not database.is_sqlite:
            # Of several control processes that start together one migrates; the others wait here.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        migrate(connection)
        changes.initialise(connection)
        audit.initialise(connection)
        republish(connection)
    return True


def migrate(connection: Connection, to: str = "head") -> None:
    """Run Alembic on ``connection``, within its transaction."""
    # Half a second and ten megabytes that only a start with new migrations needs.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def revision(connection: Connection) -> str | None:
    """The schema that the database has; None for an empty database."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def known_revisions() -> set[str]:
    """The migrations that came with this version of the software."""
    files = (MIGRATIONS / "versions").iterdir()
    return {match.group(1) for file in files if (match := _FILE.fullmatch(file.name))}
