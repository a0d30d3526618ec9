"""API keys of applications. A secret leaves this module once, and only its HMAC stays."""

import secrets
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.preconditions import NO_PRECONDITION, Precondition, check_idempotency_key
from control.reach import Reach
from control.resources import (
    Key,
    KeyChange,
    KeyRequest,
    NewKey,
    Page,
    expiry,
)
from control.store.applications import get_application, within
from control.store.failures import repeated
from control.store.key_rows import (
    KeyRow,
    encoded,
    find_key,
    missing_key,
    publish_key,
    revoke_row,
    shown,
    with_overlaps,
)
from control.store.rotation import FreshSecret, rotate_row, shorten_overlaps
from control.store.tables import api_keys, applications
from control.store.visible_models import visible_models
from protocol import keys
from protocol.errors import Code, TollwayError
from protocol.names import check_name
from registry.clock import Clock
from registry.store import audit
from registry.store.database import Database

_ID_BYTES = 10


class _Creation(NamedTuple):
    key: KeyRequest
    expires_ms: int | None
    created_by: str
    idempotency_key: str | None
    reach: Reach


class Keys:
    """Makes, lists, changes, rotates and revokes keys. Thread-safe; calls block.

    ``reach`` is the caller's: keys of applications outside of it do not exist.
    """

    def __init__(
        self, database: Database, pepper: bytes, clock: Clock, max_per_application: int
    ) -> None:
        """``max_per_application``: keys that an application may have at once, ended ones aside."""
        self._database = database
        self._pepper = pepper
        self._clock = clock
        self._max_per_application = max_per_application

    @repeated
    def create(
        self,
        request: KeyRequest,
        *,
        created_by: str,
        idempotency_key: str | None = None,
        reach: Reach,
    ) -> NewKey:
        """Make a key and put it on the change stream. Its secret is in the answer, nowhere else.

        The same ``idempotency_key`` again raises ``CONFLICT`` and names the key made at first: its
        secret cannot be answered twice because it is not stored. ``CONFLICT`` as well when the
        application has as many keys as it may have.
        """
        check_name(request.application, "application")
        _check_models(request.models)
        check_idempotency_key(idempotency_key)
        expires_ms = expiry(request.expires_at, self._clock())
        creation = _Creation(request, expires_ms, created_by, idempotency_key, reach)
        with self._database.write() as connection:
            return self._create(connection, creation)

    def _create(self, connection: Connection, creation: _Creation) -> NewKey:
        request = creation.key
        if creation.idempotency_key is not None:
            _refuse_replay(connection, creation)
        # Locked, so that of two keys made at once the second is counted with the first.
        get_application(connection, request.application, reach=creation.reach, lock=True)
        _require_models(connection, request.models, creation.reach)
        now = self._clock()
        self._require_room(connection, request.application, now)
        secret = keys.generate(request.environment)
        row = {
            "id": f"key-{secrets.token_hex(_ID_BYTES)}",
            "hash": keys.secret_hash(secret.encode(), self._pepper),
            "prefix": secret[: keys.PREFIX_DIGITS],
            "application": request.application,
            "label": request.label,
            "environment": request.environment,
            "generation": 1,
            "scopes": encoded(request.scopes),
            "models": encoded(request.models),
            "networks": encoded(request.networks),
            "expires_ms": creation.expires_ms,
            "created_ms": now,
            "created_by": creation.created_by,
            "idempotency_key": creation.idempotency_key,
        }
        connection.execute(sa.insert(api_keys).values(row))
        made = find_key(connection, str(row["id"]))
        assert made is not None
        publish_key(connection, made, now)
        _record(connection, "key.created", None, shown(made, now), now)
        return NewKey(secret=secret, **dict(shown(made, now)))

    def _require_room(self, connection: Connection, application: str, now: int) -> None:
        live = sa.select(sa.func.count()).where(
            api_keys.c.application == application,
            api_keys.c.revoked_ms.is_(None),
            sa.or_(api_keys.c.expires_ms.is_(None), api_keys.c.expires_ms > now),
        )
        if connection.execute(live).scalar_one() >= self._max_per_application:
            raise TollwayError(
                Code.CONFLICT,
                f"application {application!r} has {self._max_per_application} keys that work, "
                "which is as many as it may have: revoke one first, or rotate it",
            )

    def get(self, id: str, *, reach: Reach) -> Key:
        """The key of this id, or ``NOT_FOUND``."""
        with self._database.read() as connection:
            return shown(_get(connection, id, reach), self._clock())

    def list(self, limit: int, after: str, application: str | None, *, reach: Reach) -> Page[Key]:
        """Keys by id, of one application if named."""
        query = (
            sa.select(api_keys)
            .where(api_keys.c.id > after, within(reach, api_keys.c.application))
            .order_by(api_keys.c.id)
            .limit(limit + 1)
        )
        if application is not None:
            query = query.where(api_keys.c.application == application)
        now = self._clock()
        with self._database.read() as connection:
            rows = with_overlaps(connection, connection.execute(query).all())
        items = [shown(row, now) for row in rows]
        return Page.of(items, limit, lambda one: one.id)

    def change(
        self,
        id: str,
        request: KeyChange,
        condition: Precondition = NO_PRECONDITION,
        *,
        reach: Reach,
    ) -> Key:
        """Relabel, restrict or extend the key; every secret that works follows within a second."""
        given = request.model_fields_set
        wish: dict[str, object] = {
            name: getattr(request, name) for name in given if name != "expires_at"
        }
        if "networks" in given:
            wish["networks"] = request.networks or ()
        if "expires_at" in given:
            wish["expires_ms"] = expiry(request.expires_at, self._clock())
        _check_models(request.models)
        with self._database.write() as connection:
            now = self._clock()
            row = _get(connection, id, reach, lock=True)
            before = shown(row, now)
            condition.check(before)
            _require_working(row, now)
            # What the key is restricted to already may have gone, or be hidden, since.
            added = tuple(name for name in request.models or () if name not in (row.models or ()))
            _require_models(connection, added, reach)
            changed = msgspec.structs.replace(row, **wish)
            if changed == row:
                return before
            changed = shorten_overlaps(connection, changed)
            values: dict[str, Any] = {
                "label": changed.label,
                "scopes": encoded(changed.scopes),
                "models": encoded(changed.models),
                "networks": encoded(changed.networks),
                "expires_ms": changed.expires_ms,
            }
            connection.execute(sa.update(api_keys).where(api_keys.c.id == id).values(values))
            publish_key(connection, changed, now)
            after = shown(changed, now)
            _record(connection, "key.changed", before, after, now)
            return after

    def rotate(
        self,
        id: str,
        overlap_s: int,
        *,
        rotated_by: str,
        idempotency_key: str | None = None,
        condition: Precondition = NO_PRECONDITION,
        reach: Reach,
    ) -> NewKey:
        """Give the key a new secret. Earlier ones work for ``overlap_s`` more seconds at most: with
        0 they end now. The id, and what hangs on it, stays.

        The same ``idempotency_key`` as in the last rotation raises ``CONFLICT``, as in
        :meth:`create`.
        """
        check_idempotency_key(idempotency_key)
        with self._database.write() as connection:
            now = self._clock()
            row = _get(connection, id, reach, lock=True)
            before = shown(row, now)
            if idempotency_key is not None and (row.rotated_by, row.rotation_key) == (
                rotated_by,
                idempotency_key,
            ):
                raise TollwayError(
                    Code.CONFLICT,
                    f"this Idempotency-Key made generation {row.generation} of the key already; a "
                    "secret is shown only once: use the one you have, or rotate again under a new "
                    "Idempotency-Key",
                )
            condition.check(before)
            _require_working(row, now)
            secret = keys.generate(row.environment)
            fresh = FreshSecret(
                hash=keys.secret_hash(secret.encode(), self._pepper),
                prefix=secret[: keys.PREFIX_DIGITS],
                rotated_by=rotated_by,
                rotation_key=idempotency_key,
            )
            after = shown(rotate_row(connection, row, fresh, overlap_s, now), now)
            _record(connection, "key.rotated", before, after, now)
            return NewKey(secret=secret, **dict(after))

    def revoke(
        self,
        id: str,
        condition: Precondition = NO_PRECONDITION,
        *,
        reach: Reach,
    ) -> Key:
        """End every secret of the key for good. Revoking it again changes nothing."""
        with self._database.write() as connection:
            now = self._clock()
            row = _get(connection, id, reach, lock=True)
            before = shown(row, now)
            if row.revoked_ms is not None:
                return before
            condition.check(before)
            after = shown(revoke_row(connection, row, now), now)
            _record(connection, "key.revoked", before, after, now)
            return after


def _get(connection: Connection, id: str, reach: Reach, *, lock: bool = False) -> KeyRow:
    found = find_key(connection, id, lock=lock)
    if found is None or not _owned(connection, found, reach):
        raise missing_key()
    return found


def _owned(connection: Connection, key: KeyRow, reach: Reach) -> bool:
    if reach.consumer is None:
        return True
    query = sa.select(applications.c.consumer).where(applications.c.name == key.application)
    return connection.execute(query).scalar() == reach.consumer


def _require_working(key: KeyRow, now: int) -> None:
    if key.revoked_ms is not None:
        raise TollwayError(Code.CONFLICT, "the key is revoked, for good: make another")
    if key.expires_ms is not None and key.expires_ms <= now:
        raise TollwayError(Code.CONFLICT, "the key has expired: make another")


def _require_models(connection: Connection, models: tuple[str, ...] | None, reach: Reach) -> None:
    if models:
        visible_models(connection, models, reach)


def _check_models(models: tuple[str, ...] | None) -> None:
    for model in models or ():
        check_name(model, "model")


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


def _record(connection: Connection, action: str, before: Key | None, after: Key, now: int) -> None:
    audit.record(connection, action, "key", after.id, at_ms=now, before=before, after=after)
