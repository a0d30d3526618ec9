"""After a migration: documents whose form has changed are published in their new one."""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.store.applications import application_of, document_of
from control.store.key_rows import documents, with_overlaps
from control.store.tables import api_keys, applications
from registry.store import changes
from registry.store.tables import versions
from registry.store.versions import version_document, version_record


def republish(connection: Connection) -> int:
    """Publish applications, keys and versions whose document on the stream differs. Returns how
    many did.

    It runs in the migration's own transaction: no start can see one without the other.
    """
    rows = connection.execute(sa.select(applications).order_by(applications.c.name)).all()
    of_applications = [(one.name, document_of(one)) for one in map(application_of, rows)]
    working = sa.select(api_keys).where(api_keys.c.revoked_ms.is_(None)).order_by(api_keys.c.id)
    keys = with_overlaps(connection, connection.execute(working).all())
    of_keys = [(document.id, document) for key in keys for document in documents(key, 0)]
    stored = connection.execute(sa.select(versions).order_by(versions.c.model, versions.c.number))
    of_versions = [
        (f"{record.model}/{record.number}", version_document(record))
        for record in map(version_record, stored)
    ]
    return (
        _publish(connection, "application", of_applications)
        + _publish(connection, "key", of_keys)
        + _publish(connection, "version", of_versions)
    )


def _publish(
    connection: Connection, kind: str, wanted: Iterable[tuple[str, msgspec.Struct]]
) -> int:
    table = changes.changes.c
    query = sa.select(table.key, table.doc).where(table.kind == kind).order_by(table.seq)
    present: dict[str, str | None] = {row.key: row.doc for row in connection.execute(query)}
    published = 0
    for key, document in wanted:
        if present.get(key) != msgspec.json.encode(document).decode():
            changes.append(connection, kind, key, document)
            published += 1
    return published
