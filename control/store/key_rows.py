"""Rows of API keys: how they are read, locked and published.

A key keeps its id while its secret changes. Each secret that still works has a document of its own
on the stream, under a key that no other secret ever has: a gateway that learns of the new one never
drops the earlier one by mistake.
"""

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from control.resources import Key, KeyOverlap, optional_time
from control.store.tables import api_keys, key_overlaps
from protocol.configuration import Environment, KeyDoc, Scope
from protocol.errors import Code, TollwayError
from registry.clock import rfc3339
from registry.store import changes


class Overlap(msgspec.Struct, frozen=True):
    """An earlier secret of a key."""

    generation: int
    hash: str
    prefix: str
    ends_ms: int


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key as stored, with its earlier secrets."""

    id: str
    hash: str
    prefix: str
    application: str
    label: str
    environment: Environment
    generation: int
    scopes: tuple[Scope, ...] | None
    models: tuple[str, ...] | None
    networks: tuple[str, ...]
    expires_ms: int | None
    created_ms: int
    rotated_ms: int | None
    revoked_ms: int | None
    last_used_ms: int | None
    rotated_by: str | None
    rotation_key: str | None
    overlaps: tuple[Overlap, ...] = ()


def find_key(connection: Connection, id: str, *, lock: bool = False) -> KeyRow | None:
    """The key of this id; ``lock`` holds it, and with it its secrets, against other writers."""
    query = sa.select(api_keys).where(api_keys.c.id == id)
    row = connection.execute(query.with_for_update(key_share=True) if lock else query).first()
    return None if row is None else with_overlaps(connection, [row])[0]


def missing_key() -> TollwayError:
    """The refusal of an id. What is not one may be a secret pasted by mistake: never repeated."""
    return TollwayError(Code.NOT_FOUND, "there is no key with this id")


def with_overlaps(
    connection: Connection, rows: Sequence[sa.Row[tuple[object, ...]]]
) -> list[KeyRow]:
    """The rows with the earlier secrets of each key."""
    ids = [row._mapping["id"] for row in rows if row._mapping["generation"] > 1]
    earlier: dict[str, list[Overlap]] = {}
    if ids:
        query = sa.select(key_overlaps).where(key_overlaps.c.key.in_(ids))
        for one in connection.execute(query.order_by(key_overlaps.c.generation)):
            found = Overlap(one.generation, one.hash, one.prefix, one.ends_ms)
            earlier.setdefault(one.key, []).append(found)
    return [_key_row(row._mapping, earlier.get(row._mapping["id"], ())) for row in rows]


def document_id(id: str, generation: int) -> str:
    """Key of a secret's document on the stream."""
    return id if generation == 1 else f"{id}.{generation}"


def documents(key: KeyRow, now: int) -> list[KeyDoc]:
    """The documents of every secret that works: none for a key that was revoked."""
    if key.revoked_ms is not None:
        return []
    live = [(one.generation, one.hash, one.ends_ms) for one in key.overlaps if one.ends_ms > now]
    return [
        KeyDoc(
            id=document_id(key.id, generation),
            hash=hash,
            application=key.application,
            models=key.models,
            # A key must not outlive its moment by rounding.
            expires_at=None if ends_ms is None else ends_ms // 1000,
            environment=key.environment,
            scopes=key.scopes,
            networks=key.networks,
            lineage="" if generation == 1 else key.id,
        )
        for generation, hash, ends_ms in [*live, (key.generation, key.hash, key.expires_ms)]
    ]


def publish_key(connection: Connection, key: KeyRow, now: int) -> None:
    """Put every document of the key on the stream."""
    for document in documents(key, now):
        changes.append(connection, "key", document.id, document)


def withdraw(connection: Connection, id: str, generations: Iterable[int]) -> None:
    """Take the documents of these secrets off the stream: they stop working at every gateway."""
    for generation in generations:
        changes.append(connection, "key", document_id(id, generation), None)


def shown(key: KeyRow, now: int) -> Key:
    """The key as the API shows it."""
    return Key(
        id=key.id,
        prefix=key.prefix,
        application=key.application,
        label=key.label,
        environment=key.environment,
        generation=key.generation,
        scopes=key.scopes,
        models=key.models,
        networks=key.networks,
        expires_at=optional_time(key.expires_ms),
        created_at=rfc3339(key.created_ms),
        rotated_at=optional_time(key.rotated_ms),
        revoked_at=optional_time(key.revoked_ms),
        last_used_at=optional_time(key.last_used_ms),
        overlaps=tuple(
            KeyOverlap(generation=one.generation, prefix=one.prefix, ends_at=rfc3339(one.ends_ms))
            for one in key.overlaps
            if one.ends_ms > now
        ),
    )


def revoke_row(connection: Connection, key: KeyRow, now: int) -> KeyRow:
    """End every secret of a key that the caller has locked."""
    connection.execute(sa.update(api_keys).where(api_keys.c.id == key.id).values(revoked_ms=now))
    connection.execute(sa.delete(key_overlaps).where(key_overlaps.c.key == key.id))
    withdraw(connection, key.id, [*(one.generation for one in key.overlaps), key.generation])
    return msgspec.structs.replace(key, revoked_ms=now, overlaps=())


def encoded(values: Sequence[str] | None) -> str | None:
    """A list as its column holds it."""
    return None if values is None else msgspec.json.encode(values).decode()


def _key_row(m: sa.RowMapping, overlaps: Sequence[Overlap]) -> KeyRow:
    lists = {
        name: None if m[name] is None else msgspec.json.decode(str(m[name]))
        for name in ("scopes", "models", "networks")
    }
    columns = set(KeyRow.__struct_fields__) - {*lists, "overlaps"}
    plain = {name: m[name] for name in columns}
    return msgspec.convert({**plain, **lists, "overlaps": tuple(overlaps)}, KeyRow)
