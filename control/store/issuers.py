"""Issuers in SQL. Every change commits with its document on the stream and an audit entry."""

import hashlib
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.identity.issuers import MAX_NAME, Issuer, IssuerRequest, issuer_document
from control.preconditions import NO_PRECONDITION, Precondition
from control.resources import Page
from control.store.directory import Put
from control.store.failures import repeated
from control.store.issuer_tables import issuers
from control.store.stream import publish_if_new
from policies.jwt.fetch import check_issuer, check_uri
from protocol.configuration import IssuerDoc
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.clock import Clock, rfc3339
from registry.store import audit, changes
from registry.store.database import Database


class _Row(NamedTuple):
    issuer: Issuer
    request: IssuerRequest


class Issuers:
    """Reads and writes issuers. Thread-safe; calls block."""

    def __init__(self, database: Database, clock: Clock, *, allow_http: bool) -> None:
        """``allow_http``: whether keys may come by http from other machines."""
        self._database = database
        self._clock = clock
        self._allow_http = allow_http

    @repeated
    def put(
        self, name: str, request: IssuerRequest, condition: Precondition = NO_PRECONDITION
    ) -> Put[Issuer]:
        """Make the issuer, or put ``request`` whole in its place. ``CONFLICT`` when another issuer
        has the same ``iss``: a token must say of itself whose it is."""
        check_name(name, "issuer")
        if len(name) > MAX_NAME:
            raise TollwayError(
                Code.INVALID, f"issuer {name!r} has too long a name: use {MAX_NAME} characters"
            )
        check_issuer(request.issuer, allow_http=self._allow_http)
        check_uri(request.jwks_uri, allow_http=self._allow_http)
        now = self._clock()
        with self._database.write() as connection:
            current = _find(connection, name, lock=True)
            condition.check(None if current is None else current.issuer)
            if current is not None and current.request == request:
                return Put(current.issuer, False)
            digest = _digest(request.issuer)
            _require_free(connection, name, digest, request.issuer)
            values = {
                "issuer_hash": digest,
                "terms": request.model_dump_json(),
                "updated_ms": now,
            }
            if current is None:
                row = {"name": name, "created_ms": now, **values}
                connection.execute(sa.insert(issuers).values(row))
            else:
                connection.execute(sa.update(issuers).where(issuers.c.name == name).values(values))
            changed = _find(connection, name)
            assert changed is not None
            # What only this API shows, such as the title, is no news to gateways.
            publish_if_new(connection, "issuer", name, issuer_document(name, request))
            audit.record(
                connection,
                "issuer.created" if current is None else "issuer.changed",
                "issuer",
                name,
                at_ms=now,
                before=None if current is None else current.issuer,
                after=changed.issuer,
            )
            return Put(changed.issuer, current is None)

    def get(self, name: str) -> Issuer:
        """The issuer of this name, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = _find(connection, name)
        if found is None:
            raise _missing(name)
        return found.issuer

    def documents(self) -> list[IssuerDoc]:
        """All issuers, as verifiers take them."""
        with self._database.read() as connection:
            rows = [_of_row(row) for row in connection.execute(sa.select(issuers))]
        return [issuer_document(row.issuer.name, row.request) for row in rows]

    def list(self, limit: int, after: str) -> Page[Issuer]:
        """Issuers by name."""
        query = (
            sa.select(issuers)
            .where(issuers.c.name > after)
            .order_by(issuers.c.name)
            .limit(limit + 1)
        )
        with self._database.read() as connection:
            items = [_of_row(row).issuer for row in connection.execute(query)]
        return Page.of(items, limit, lambda one: one.name)

    def delete(self, name: str, condition: Precondition = NO_PRECONDITION) -> None:
        """Take no more tokens of this issuer, or raise ``NOT_FOUND``."""
        now = self._clock()
        with self._database.write() as connection:
            current = _find(connection, name, lock=True)
            if current is None:
                raise _missing(name)
            condition.check(current.issuer)
            connection.execute(sa.delete(issuers).where(issuers.c.name == name))
            changes.append(connection, "issuer", name, None)
            audit.record(
                connection, "issuer.deleted", "issuer", name, at_ms=now, before=current.issuer
            )


def _find(connection: Connection, name: str, *, lock: bool = False) -> _Row | None:
    query = sa.select(issuers).where(issuers.c.name == name)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else _of_row(row)


def _require_free(connection: Connection, name: str, digest: str, iss: str) -> None:
    query = sa.select(issuers.c.name).where(issuers.c.issuer_hash == digest, issuers.c.name != name)
    other = connection.execute(query).scalar()
    if other is not None:
        raise TollwayError(
            Code.CONFLICT, f"the tokens of {iss[:200]!r} belong to issuer {other!r} already"
        )


def _digest(iss: str) -> str:
    return hashlib.sha256(iss.encode()).hexdigest()


def _missing(name: str) -> TollwayError:
    return TollwayError(Code.NOT_FOUND, f"there is no issuer {name[:80]!r}")


def _of_row(row: sa.Row[tuple[object, ...]]) -> _Row:
    m = row._mapping
    request = IssuerRequest.model_validate_json(m["terms"])
    issuer = Issuer(
        **dict(request),
        name=m["name"],
        created_at=rfc3339(m["created_ms"]),
        updated_at=rfc3339(m["updated_ms"]),
    )
    return _Row(issuer, request)
