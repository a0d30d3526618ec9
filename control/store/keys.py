"""API keys of applications. A secret leaves this module once, and only its HMAC stays."""

import secrets
from typing import NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.resources import (
    MAX_TIME_MS,
    Key,
    KeyRequest,
    NewKey,
    Page,
    milliseconds,
    optional_time,
)
from control.store.directory import get_application
from control.store.failures import repeated
from control.store.tables import api_keys
from protocol import keys
from protocol.configuration import KeyDoc
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.clock import Clock, rfc3339
from registry.store import changes
from registry.store.database import Database

_ID_BYTES = 10
MAX_IDEMPOTENCY_KEY = 255


class _Creation(NamedTuple):
    key: KeyRequest
    expires_ms: int | None
    created_by: str
    idempotency_key: str | None


class Keys:
    """Makes, lists and revokes keys. Thread-safe; calls block."""

    def __init__(self, database: Database, pepper: bytes, clock: Clock) -> None:
        self._database = database
        self._pepper = pepper
        self._clock = clock

    @repeated
    def create(
        self, request: KeyRequest, *, created_by: str, idempotency_key: str | None = None
    ) -> NewKey:
        """Make a key and put it on the change stream. Its secret is in the answer, nowhere else.

        The same ``idempotency_key`` again raises ``CONFLICT`` and names the key made at first: its
        secret cannot be answered twice because it is not stored.
        """
        check_name(request.application, "application")
        for model in request.models or ():
            check_name(model, "model")
        if idempotency_key is not None and not 0 < len(idempotency_key) <= MAX_IDEMPOTENCY_KEY:
            raise TollwayError(
                Code.INVALID, f"Idempotency-Key must have 1 to {MAX_IDEMPOTENCY_KEY} characters"
            )
        expires_ms = milliseconds(request.expires_at)
        if expires_ms is not None and not self._clock() < expires_ms <= MAX_TIME_MS:
            raise TollwayError(Code.INVALID, "expires_at is in the past, or after the year 9999")
        creation = _Creation(request, expires_ms, created_by, idempotency_key)
        with self._database.write() as connection:
            return self._create(connection, creation)

    def _create(self, connection: Connection, creation: _Creation) -> NewKey:
        request = creation.key
        if creation.idempotency_key is not None:
            _refuse_replay(connection, creation)
        get_application(connection, request.application)
        secret = keys.generate(request.environment)
        now = self._clock()
        row = {
            "id": f"key-{secrets.token_hex(_ID_BYTES)}",
            "hash": keys.secret_hash(secret.encode(), self._pepper),
            "prefix": secret[: keys.PREFIX_DIGITS],
            "application": request.application,
            "label": request.label,
            "environment": request.environment,
            "models": None
            if request.models is None
            else msgspec.json.encode(request.models).decode(),
            "expires_ms": creation.expires_ms,
            "created_ms": now,
            "revoked_ms": None,
            "created_by": creation.created_by,
            "idempotency_key": creation.idempotency_key,
        }
        connection.execute(sa.insert(api_keys).values(row))
        document = KeyDoc(
            id=str(row["id"]),
            hash=str(row["hash"]),
            application=request.application,
            models=None if request.models is None else tuple(request.models),
            # A key must not outlive its moment by rounding.
            expires_at=None if creation.expires_ms is None else creation.expires_ms // 1000,
        )
        changes.append(connection, "key", document.id, document)
        made = _find(connection, document.id)
        assert made is not None
        return NewKey(secret=secret, **made.model_dump())

    def get(self, id: str) -> Key:
        """The key of this id, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            found = _find(connection, id)
        if found is None:
            raise _missing()
        return found

    def list(self, limit: int, after: str, application: str | None) -> Page[Key]:
        """Keys by id, of one application if named."""
        query = (
            sa.select(api_keys)
            .where(api_keys.c.id > after)
            .order_by(api_keys.c.id)
            .limit(limit + 1)
        )
        if application is not None:
            query = query.where(api_keys.c.application == application)
        with self._database.read() as connection:
            items = [_key(row) for row in connection.execute(query)]
        following = items[limit - 1].id if len(items) > limit else None
        return Page(items=items[:limit], next=following)

    def revoke(self, id: str) -> Key:
        """End the key for good. Revoking it again changes nothing."""
        with self._database.write() as connection:
            found = _find(connection, id, lock=True)
            if found is None:
                raise _missing()
            if found.revoked_at is not None:
                return found
            now = self._clock()
            connection.execute(
                sa.update(api_keys).where(api_keys.c.id == id).values(revoked_ms=now)
            )
            changes.append(connection, "key", id, None)
        return found.model_copy(update={"revoked_at": rfc3339(now)})


def _refuse_replay(connection: Connection, creation: _Creation) -> None:
    earlier = connection.execute(
        sa.select(api_keys.c.id).where(
            api_keys.c.created_by == creation.created_by,
            api_keys.c.idempotency_key == creation.idempotency_key,
        )
    ).scalar()
    if earlier is not None:
        raise TollwayError(
            Code.CONFLICT,
            f"this Idempotency-Key made the key {earlier} already; a secret is shown only once: "
            "use the one you have, or revoke that key and make another under a new Idempotency-Key",
        )


def _find(connection: Connection, id: str, *, lock: bool = False) -> Key | None:
    query = sa.select(api_keys).where(api_keys.c.id == id)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else _key(row)


def _missing() -> TollwayError:
    # An id is short; what is not one may be a secret pasted by mistake, and is not repeated.
    return TollwayError(Code.NOT_FOUND, "there is no key with this id")


def _key(row: sa.Row[tuple[object, ...]]) -> Key:
    m = row._mapping
    return Key(
        id=m["id"],
        prefix=m["prefix"],
        application=m["application"],
        label=m["label"],
        environment=m["environment"],
        models=None if m["models"] is None else msgspec.json.decode(m["models"]),
        expires_at=optional_time(m["expires_ms"]),
        created_at=rfc3339(m["created_ms"]),
        revoked_at=optional_time(m["revoked_ms"]),
    )
