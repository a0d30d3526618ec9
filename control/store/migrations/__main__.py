"""Drafts a migration: ``python -m control.store.migrations "Say what it does"``.

Compares the tables in the code with what the migrations make of an empty database, and writes the
difference as the next numbered file. Read it, then set ``control.store.schema.HEAD`` to its number.
"""

import sys

from alembic import command
from alembic.config import Config

from control.store.schema import MIGRATIONS, known_revisions, migrate
from registry.store.database import Database


def draft(message: str) -> None:
    """Write the next migration."""
    database = Database("sqlite://")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    known = known_revisions()
    number = f"{max((int(one) for one in known), default=0) + 1:04d}"
    with database.write() as connection:
        if known:
            migrate(connection)
        config.attributes["connection"] = connection
        command.revision(config, message, autogenerate=True, rev_id=number)


if __name__ == "__main__":
    draft(" ".join(sys.argv[1:]) or "Change the schema")
