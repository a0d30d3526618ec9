"""Triggers by which the database itself refuses to change or drop rows of a table.

They keep an accident from editing the audit log. Whoever owns the database can drop them, so that
verification relies on hashes and signatures alone.
"""

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection

_REFUSAL = "the audit log is append-only"
_FUNCTION = "audit_append_only"


def on_creation(table: sa.Table) -> None:
    """Guard the table whenever it is made from the metadata, as the migrations do."""

    @event.listens_for(table, "after_create")
    def guard(_table: sa.Table, connection: Connection, **_: object) -> None:
        for statement in statements(table.name, connection.dialect.name):
            connection.exec_driver_sql(statement)


def statements(table: str, dialect: str) -> list[str]:
    """What makes the table append-only on ``sqlite`` or ``postgresql``."""
    if dialect == "postgresql":
        function = (
            f"CREATE OR REPLACE FUNCTION {_FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$"
        )
        trigger = (
            f"CREATE TRIGGER {table}_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {_FUNCTION}()"
        )
        return [function, trigger]
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
    return [
        f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}",
    ]


def removal(dialect: str) -> list[str]:
    """What is left to be dropped once the guarded tables are gone."""
    return [f"DROP FUNCTION {_FUNCTION}()"] if dialect == "postgresql" else []
