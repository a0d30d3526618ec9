"""What the audit log says without a request: releases, tokens, failed logins, blobs."""

import asyncio
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from control.app import create_app
from control.identity.failed_logins import MAX_ADDRESSES, OTHERS, FailedLogins, network
from control.store.history import record_release
from protocol import keys
from protocol.manifest import sha256_digest
from registry.acting import Acting, acting_as
from registry.store.audit import audit
from registry.store.database import Database
from tests.control.running import Control, FakeClock, connect
from tests.control.test_composition import MODEL, register


def recorded(database: Database, kind: str) -> list[tuple[str, str, str, object, object]]:
    """(action, key, actor, before, after) of entries of this kind, oldest first."""
    query = sa.select(audit).where(audit.c.kind == kind).order_by(audit.c.seq)
    with database.read() as connection:
        return [
            (
                row.action,
                row.key,
                row.actor,
                row.before and msgspec.json.decode(row.before),
                row.after and msgspec.json.decode(row.after),
            )
            for row in connection.execute(query)
        ]


def test_a_release_is_recorded_once_and_its_successor_names_it(database: Database) -> None:
    assert [record_release(database, 1, version) for version in ("1.0", "1.0", "1.1")] == [
        True,
        False,
        True,
    ]

    found = recorded(database, "system")
    assert [one[0] for one in found] == ["system.installed", "system.upgraded"]
    assert found[1][3] == found[0][4]


async def test_a_rotated_admin_token_is_recorded_without_the_token(
    control: Control, tmp_path: Path
) -> None:
    before = control.settings.admin_token_path.read_text()
    secret = keys.generate("admin")
    control.settings.admin_token_path.write_text(secret)
    for _ in range(2):
        create_app(control.settings, clock=control.clock).state.services.database.close()

    found = recorded(control.services.database, "token")
    assert [one[:3] for one in found] == [
        ("token.created", "admin", "system"),
        ("token.changed", "admin", "system"),
    ]
    assert secret not in repr(found)
    assert before.strip() not in repr(found)


async def test_a_well_formed_token_that_is_unknown_is_recorded_with_its_address(
    control: Control,
) -> None:
    secret = keys.generate("admin")
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Request-Id": "guess"}
    async with connect(control.app, secret) as client:
        for _ in range(5):
            assert (await client.get("/api/v1/models", headers=headers)).status_code == 401
    control.clock.advance(61)
    control.services.failed_logins.flush()

    found = recorded(control.services.database, "login")
    assert [one[:3] for one in found] == [("login.failed", "203.0.113.9", "anonymous")] * 2
    assert [one[4] for one in found] == [
        {"failures": 1, "credential": "management token or session"},
        {"failures": 4, "credential": "management token or session"},
    ]
    assert secret not in repr(found)


async def test_noise_that_is_no_token_is_not_recorded(control: Control) -> None:
    async with connect(control.app, "nonsense") as client:
        await client.get("/api/v1/models")
    await control.anonymous.get("/api/v1/models")
    control.services.failed_logins.close()

    assert recorded(control.services.database, "login") == []


def test_an_address_leaves_one_entry_a_minute_and_every_failure_is_counted(
    sqlite_database: Database,
) -> None:
    clock = FakeClock()
    failed = FailedLogins(sqlite_database, clock)
    with acting_as(Acting(address="203.0.113.9")):
        for _ in range(600):  # ten minutes of one a second
            failed.note("token")
            clock.advance(1)
            failed.flush()
    failed.close()

    found = recorded(sqlite_database, "login")
    assert len(found) <= 12
    assert sum(one[4]["failures"] for one in found) == 600  # type: ignore[index]


def test_failures_from_countless_addresses_share_an_entry(sqlite_database: Database) -> None:
    failed = FailedLogins(sqlite_database, FakeClock())
    for number in range(MAX_ADDRESSES + 100):
        with acting_as(Acting(address=f"10.1.{number // 250}.{number % 250}")):
            failed.note("token")
    failed.close()

    found = recorded(sqlite_database, "login")
    assert len(found) == MAX_ADDRESSES + 2
    assert sum(one[4]["failures"] for one in found) == MAX_ADDRESSES + 100  # type: ignore[index]
    assert [one[1] for one in found[-2:]] == [OTHERS, OTHERS]


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("no address", "no address"),
    ],
)
def test_a_client_cannot_hide_in_its_own_network(address: str, counted: str) -> None:
    assert network(address) == counted


async def test_a_damaged_blob_its_healing_and_its_collection_are_recorded(
    control: Control,
) -> None:
    await register(control.admin)
    digest = sha256_digest(MODEL)
    stored = next(Path(control.settings.blobs).rglob(digest.removeprefix("sha256:")))
    stored.chmod(0o600)
    stored.write_bytes(b"damaged")
    integrity = control.services.registry.integrity
    await asyncio.to_thread(integrity.scan)
    stored.write_bytes(MODEL)
    await asyncio.to_thread(integrity.scan)

    found = recorded(control.services.database, "blob")
    assert [one[:3] for one in found] == [
        ("blob.damaged", digest, "system"),
        ("blob.healed", digest, "system"),
    ]


async def test_the_collection_of_a_blob_is_recorded(control: Control) -> None:
    data = b"nobody needs this"
    blob = {"digest": sha256_digest(data), "size": len(data)}
    begun = (await control.admin.post("/api/v1/blobs/uploads", json=blob)).json()
    path = f"/api/v1/blobs/uploads/{begun['id']}"
    await control.admin.patch(path, content=data, headers={"Upload-Offset": "0"})
    await control.admin.post(f"{path}/complete")
    collector = control.services.registry.collector
    collector.collect()
    control.clock.advance(control.settings.gc_grace_s + 1)
    assert collector.collect().swept == 1

    found = recorded(control.services.database, "blob")
    assert [one[:3] for one in found] == [("blob.collected", blob["digest"], "system")]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET reason = 'another' WHERE seq = 1",
        "DELETE FROM audit",
        "UPDATE audit_checkpoints SET seq = 2",
        "DELETE FROM audit_checkpoints",
    ],
)
async def test_the_database_refuses_to_edit_the_log(database: Database, statement: str) -> None:
    record_release(database, 1, "1.0")
    with database.write() as connection:
        row = {"number": 1, "seq": 1, "hash": "", "at_ms": 1, "signer": "", "previous": ""}
        insert = "INSERT INTO audit_checkpoints VALUES (:number, :seq, :hash, :at_ms, :signer, "
        connection.execute(sa.text(insert + ":previous, 'x')"), row)

    with (
        pytest.raises(sa.exc.DatabaseError, match="append-only"),
        database.write() as connection,
    ):
        connection.execute(sa.text(statement))
