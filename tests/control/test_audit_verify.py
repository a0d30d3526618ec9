"""Any single edit of the audit log is found: on both databases, and in archives.

Edits are made as somebody would who owns the database: the guards against accidents are off.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from control.audit import formats
from control.audit.checkpoints import FILE, PUBLIC, Checkpoints, open_signer, public_keys
from control.audit.log import archive, verify_database, verify_file
from protocol.errors import TollwayError
from registry.acting import Acting, acting_as
from registry.chain import FIELDS
from registry.checkpoint import PublicKeys, Signer
from registry.store import audit_guard
from registry.store.audit import audit, audit_checkpoints, audit_head, record
from registry.store.database import Database
from registry.verification import Report
from runtime.signatures import new_signing_key
from tests.control.running import FakeClock

TABLES = (audit, audit_checkpoints)


@contextmanager
def unguarded(database: Database) -> Iterator[sa.Connection]:
    """A transaction in which the log can be edited."""
    with database.write() as connection:
        for table in TABLES:
            if database.is_sqlite:
                for event in ("update", "delete"):
                    connection.execute(sa.text(f"DROP TRIGGER {table.name}_no_{event}"))
            else:
                connection.execute(sa.text(f"ALTER TABLE {table.name} DISABLE TRIGGER ALL"))
        yield connection
        for table in TABLES:
            if database.is_sqlite:
                for statement in audit_guard.statements(table.name, "sqlite"):
                    connection.exec_driver_sql(statement)
            else:
                connection.execute(sa.text(f"ALTER TABLE {table.name} ENABLE TRIGGER ALL"))


class Log:
    """A log of random entries with checkpoints in the database and in the file."""

    def __init__(self, database: Database, folder: Path, entries: int = 30) -> None:
        self.database = database
        self.clock = FakeClock()
        self.signer = open_signer(folder / "signing.key", folder)
        self.keys = public_keys(folder / PUBLIC)
        self.file = folder / FILE
        self.checkpoints = Checkpoints(
            database, self.clock, self.signer, self.file, every_entries=7, every_ms=10**9
        )
        dice = random.Random(7)
        for number in range(entries):
            self.add(dice, number)
        self.entries = entries

    def add(self, dice: random.Random, number: int) -> None:
        """Record one entry, and a checkpoint if it is due."""
        origin = Acting(
            actor=dice.choice(["ann", "bob", "zoë"]),
            role="publisher",
            address=f"203.0.113.{number}",
            request_id=f"r{number}",
            reason=dice.choice(["", "ticket 7", "größer\u2028\U0001f600"]),
        )
        state = {"title": dice.choice(["a", "b"]), "percent": dice.random()}
        with acting_as(origin), self.database.write() as connection:
            record(
                connection,
                "model.changed",
                "model",
                f"m-{number}",
                at_ms=self.clock(),
                before=dice.choice([None, state]),
                after=state,
            )
        self.clock.advance(dice.random())
        self.checkpoints.make_if_due()

    def verify(self, *, with_file: bool = True) -> Report:
        return verify_database(self.database, self.keys, self.file if with_file else None)

    def rows(self) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            found = connection.execute(sa.select(audit).order_by(audit.c.seq)).mappings()
            return [dict(row) for row in found]


@pytest.fixture
def log(database: Database, tmp_path: Path) -> Log:
    return Log(database, tmp_path)


def restore(log: Log, rows: list[dict[str, Any]]) -> None:
    with unguarded(log.database) as connection:
        connection.execute(sa.delete(audit))
        connection.execute(sa.insert(audit), rows)


def test_an_untouched_log_is_ok_and_says_what_it_holds(log: Log) -> None:
    report = log.verify()

    assert report.findings == ()
    assert (report.entries, report.first, report.last) == (30, 1, 30)
    assert report.hash == log.rows()[-1]["hash"]
    assert report.checkpoints == 5  # the copies in the file are no further ones
    assert len(log.file.read_bytes().splitlines()) == 5


def test_an_empty_log_is_ok(database: Database, tmp_path: Path) -> None:
    report = Log(database, tmp_path, entries=0).verify()

    assert report.ok
    assert (report.entries, report.last) == (0, None)


OTHER: dict[str, list[object]] = {
    "seq": [0, 1000],
    "at_ms": [0],
    "previous": [""],
    "hash": ["0" * 64],
    "before": [None, "{}"],
    "after": [None, "not json"],
}


@pytest.mark.parametrize("column", [*FIELDS, "hash"])
def test_an_edit_of_any_column_of_any_row_is_found(log: Log, column: str) -> None:
    rows = log.rows()
    for seq in (1, 15, 30):
        for value in OTHER.get(column, ["ann "]):
            if rows[seq - 1][column] == value:
                continue
            with unguarded(log.database) as connection:
                edit = sa.update(audit).where(audit.c.seq == seq).values({column: value})
                connection.execute(edit)

            report = log.verify(with_file=False)
            assert report.findings, (seq, column, value)
            assert any(abs(one.seq - seq) <= 1 for one in report.findings), report.findings
            restore(log, rows)
    assert log.verify().ok


def test_text_that_is_no_text_any_more_is_found(sqlite_database: Database, tmp_path: Path) -> None:
    log = Log(sqlite_database, tmp_path, entries=3)
    with unguarded(sqlite_database) as connection:
        connection.execute(sa.text("UPDATE audit SET actor = CAST(x'ff61' AS TEXT) WHERE seq = 2"))

    assert [one.seq for one in log.verify().findings] == [2]


Damage = Callable[[Log, int], None]


def remove(log: Log, seq: int) -> None:
    with unguarded(log.database) as connection:
        connection.execute(sa.delete(audit).where(audit.c.seq == seq))


def swap(log: Log, seq: int) -> None:
    """Exchange two entries, their numbers apart."""
    rows = log.rows()
    other = seq % len(rows) + 1
    rows[seq - 1]["seq"], rows[other - 1]["seq"] = other, seq
    restore(log, rows)


def insert(log: Log, seq: int) -> None:
    """Put an entry in, and move the numbers of all that follow."""
    rows = log.rows()
    made = {**rows[seq - 1], "reason": "put in"}
    for row in rows[seq - 1 :]:
        row["seq"] += 1
    restore(log, [*rows[: seq - 1], made, *rows[seq - 1 :]])


def cut(log: Log, seq: int) -> None:
    """Remove the end of the log from this entry on; the head forgets it too."""
    with unguarded(log.database) as connection:
        connection.execute(sa.delete(audit).where(audit.c.seq >= seq))
        last = connection.execute(
            sa.select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
        ).first()
        values = {"seq": last.seq, "hash": last.hash} if last else {"seq": 0, "hash": "0" * 64}
        connection.execute(sa.update(audit_head).values(values))


def rewrite(log: Log, seq: int) -> None:
    """Edit an entry and compute the chain anew from there, the head included."""
    from registry.chain import content_hash

    rows = log.rows()
    rows[seq - 1]["actor"] = "nobody"
    previous = rows[seq - 1]["previous"]
    for row in rows[seq - 1 :]:
        row["previous"] = previous
        previous = row["hash"] = content_hash({name: row[name] for name in FIELDS})
    restore(log, rows)
    with unguarded(log.database) as connection:
        connection.execute(sa.update(audit_head).values(hash=previous))


@pytest.mark.parametrize("damage", [remove, swap, insert, cut, rewrite])
def test_what_was_removed_moved_put_in_cut_off_or_rewritten_is_found(
    log: Log, damage: Damage
) -> None:
    rows = log.rows()
    with log.database.read() as connection:
        head = connection.execute(sa.select(audit_head.c.seq, audit_head.c.hash)).one()._asdict()
    covered = range(1, 30)  # the newest checkpoint is about entry 29
    for seq in (1, 9, 29):
        assert seq in covered
        damage(log, seq)

        report = log.verify(with_file=False)
        assert report.findings, seq

        restore(log, rows)
        with unguarded(log.database) as connection:
            connection.execute(sa.update(audit_head).values(head))
    assert log.verify().ok


def test_an_end_that_is_removed_with_its_checkpoints_is_found_by_the_file(log: Log) -> None:
    cut(log, 12)
    with unguarded(log.database) as connection:
        connection.execute(sa.delete(audit_checkpoints).where(audit_checkpoints.c.seq >= 12))

    assert log.verify(with_file=False).ok
    report = log.verify()
    assert {one.problem for one in report.findings} == {"truncated", "checkpoint"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("seq", 1),
        ("hash", "0" * 64),
        ("at_ms", 5),
        ("signer", "0" * 16),
        ("previous", "0" * 64),
        ("signature", "00" * 64),
        ("signature", "no hex"),
    ],
)
def test_an_edited_checkpoint_is_found(log: Log, column: str, value: object) -> None:
    with unguarded(log.database) as connection:
        connection.execute(
            sa.update(audit_checkpoints)
            .where(audit_checkpoints.c.number == 3)
            .values({column: value})
        )

    assert not log.verify(with_file=False).ok


@pytest.mark.parametrize("number", [1, 3])
def test_a_removed_checkpoint_is_found(log: Log, number: int) -> None:
    with unguarded(log.database) as connection:
        connection.execute(sa.delete(audit_checkpoints).where(audit_checkpoints.c.number == number))

    assert not log.verify(with_file=False).ok


def test_checkpoints_of_another_key_are_not_believed(log: Log) -> None:
    other = PublicKeys([Signer(new_signing_key().encode()).public_pem])

    report = verify_database(log.database, other)

    assert {one.problem for one in report.findings} == {"checkpoint"}


def test_a_new_signing_key_leaves_earlier_checkpoints_believed(log: Log, tmp_path: Path) -> None:
    (tmp_path / "signing.key").unlink()
    signer = open_signer(tmp_path / "signing.key", tmp_path)
    log.checkpoints = Checkpoints(
        log.database, log.clock, signer, log.file, every_entries=1, every_ms=1
    )
    log.add(random.Random(1), 31)
    log.keys = public_keys(tmp_path / PUBLIC)

    assert len(log.keys.ids) == 2
    assert log.verify().ok


def test_the_signing_key_is_readable_by_this_user_alone(log: Log, tmp_path: Path) -> None:
    assert (tmp_path / "signing.key").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in (tmp_path / PUBLIC).read_text()


def test_a_file_that_lost_its_last_line_in_a_crash_is_completed(log: Log) -> None:
    whole = log.file.read_bytes()
    log.file.write_bytes(whole[:-40])
    log.checkpoints.make_if_due()
    assert log.file.read_bytes() == whole

    log.file.unlink()
    log.checkpoints.make_if_due()
    assert log.file.read_bytes() == whole


def test_an_archive_verifies_without_the_database(log: Log, tmp_path: Path) -> None:
    file = tmp_path / "archive.jsonl"
    file.write_bytes(b"".join(archive(log.database)))

    report = verify_file(file, log.keys)
    with_file = verify_file(file, log.keys, log.file)

    assert report.ok
    assert with_file.ok
    assert (report.entries, report.checkpoints) == (30, 5)
    assert list(formats.lines(formats.read(file))) == file.read_bytes().splitlines(True)


def test_every_line_that_is_lost_doubled_or_moved_in_an_archive_is_found(
    sqlite_database: Database, tmp_path: Path
) -> None:
    log = Log(sqlite_database, tmp_path)
    lines = list(archive(log.database))
    file = tmp_path / "archive.jsonl"
    for place in range(len(lines) - 2):
        for edited in (
            lines[:place] + lines[place + 1 :],
            [*lines[:place], lines[place], *lines[place:]],
            [*lines[:place], lines[place + 1], lines[place], *lines[place + 2 :]],
        ):
            file.write_bytes(b"".join(edited))
            assert not verify_file(file, log.keys).ok, place


def test_an_archive_that_is_none_is_refused_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "archive.jsonl"
    for text in (b"nonsense\n", b"[]\n", b"{}\n", b'{"entry": 5}\n', b'{"other": {}}\n'):
        file.write_bytes(text)
        with pytest.raises(TollwayError, match=r"archive.jsonl, line 1"):
            verify_file(file, None)
