"""Applications in SQL, and their documents on the stream."""

from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.reach import Reach
from control.resources import Application
from control.store.tables import applications, ended_applications
from protocol.configuration import ApplicationDoc
from protocol.errors import Code, TollwayError
from registry.clock import rfc3339
from registry.store import changes

_FILED: Final = (applications, ended_applications)
"""Whose usage and statements are: a name is in one of them, and stays its consumer's."""


def find_application(
    connection: Connection, name: str, *, lock: bool = False
) -> Application | None:
    """The application of this name, if there is one; ``lock`` holds it against other writers."""
    query = sa.select(applications).where(applications.c.name == name)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else application_of(row)


def get_application(
    connection: Connection, name: str, *, reach: Reach, lock: bool = False
) -> Application:
    """The application of this name, or ``NOT_FOUND``, also for one that is not within reach."""
    found = find_application(connection, name, lock=lock)
    if found is None or not reach.has_consumer(found.consumer):
        raise missing_application(name)
    return found


def missing_application(name: str) -> TollwayError:
    """The refusal of an application that does not exist, or not for the caller."""
    return TollwayError(
        Code.NOT_FOUND,
        f"there is no application {name[:80]!r}: make it with PUT /api/v1/applications/NAME",
    )


def check_filed(connection: Connection, name: str, reach: Reach) -> None:
    """Refuse a name under which nothing within reach is filed: ``NOT_FOUND`` unless the consumer
    that has the application, or had it until it was deleted, is within reach."""
    query = sa.union_all(
        *(sa.select(table.c.consumer).where(table.c.name == name) for table in _FILED)
    )
    if not any(map(reach.has_consumer, connection.execute(query).scalars())):
        raise missing_application(name)


def check_available(connection: Connection, name: str, consumer: str, reach: Reach) -> None:
    """Refuse a new application whose name another consumer's had: usage is filed under it."""
    query = sa.select(ended_applications.c.consumer).where(ended_applications.c.name == name)
    earlier = connection.execute(query).scalar()
    if earlier is None or earlier == consumer:
        return
    if reach.consumer is not None:
        raise unavailable(name)
    raise TollwayError(
        Code.CONFLICT,
        f"{name!r} was an application of consumer {earlier!r}, whose usage is filed under that "
        "name: choose another, or give it to that consumer",
    )


def unavailable(name: str) -> TollwayError:
    """The refusal of a name that is another consumer's: not by whom, and not since when."""
    return TollwayError(
        Code.NOT_FOUND,
        f"there is no application {name[:80]!r} that you may change, and the name is not available "
        "for a new one: choose another",
    )


def publish_application(connection: Connection, application: Application) -> None:
    """Put the application's document on the stream."""
    changes.append(connection, "application", application.name, document_of(application))


def document_of(application: Application) -> ApplicationDoc:
    """What gateways need to know of the application."""
    return ApplicationDoc(
        name=application.name,
        consumer=application.consumer,
        origins=application.origins,
        capture=application.capture,
    )


def within(reach: Reach, column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """The condition that the application named in ``column`` is within reach."""
    if reach.consumer is None:
        return sa.true()
    own = sa.select(applications.c.name).where(applications.c.consumer == reach.consumer)
    return column.in_(own)


def filed_within(reach: Reach, column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """As :func:`within`, of applications that were deleted too: their usage and bills stay."""
    if reach.consumer is None:
        return sa.true()
    own = (sa.select(table.c.name).where(table.c.consumer == reach.consumer) for table in _FILED)
    return column.in_(sa.union_all(*own))


def application_of(row: sa.Row[tuple[object, ...]]) -> Application:
    """The row as the API shows it."""
    m = row._mapping
    return Application(
        name=m["name"],
        consumer=m["consumer"],
        title=m["title"],
        origins=msgspec.json.decode(m["origins"], type=tuple[str, ...]),
        capture=m["capture"],
        created_at=rfc3339(m["created_ms"]),
        updated_at=rfc3339(m["updated_ms"]),
    )
