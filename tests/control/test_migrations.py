"""The migrations' result is what the code's tables say, on both databases."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from control.store import schema
from protocol.errors import Code, TollwayError
from registry.store.database import Database, metadata


def test_the_migrations_make_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        assert compare_metadata(context, metadata) == []


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))

    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]
    assert schema.HEAD in schema.known_revisions()


def test_a_second_start_migrates_nothing(database: Database) -> None:
    assert schema.upgrade(database) is False


def test_migrating_works_from_any_directory(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database(database_url)

    assert schema.upgrade(database) is True

    with database.read() as connection:
        assert schema.revision(connection) == schema.HEAD
    database.close()
    assert all(file.name.startswith("tollway.db") for file in tmp_path.iterdir())


def test_a_database_of_a_newer_version_is_refused_and_left_alone(database: Database) -> None:
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(TollwayError, match="newer version") as raised:
        schema.upgrade(database)

    assert raised.value.code is Code.CONFLICT
    with database.read() as connection:
        assert schema.revision(connection) == "9999"


def test_the_change_stream_has_its_one_row_after_the_first_start(database: Database) -> None:
    with database.read() as connection:
        rows = connection.execute(sa.text("SELECT seq, compacted FROM change_stream")).all()

    assert [tuple(row) for row in rows] == [(0, 0)]


def test_the_migrations_can_be_undone_to_nothing(database: Database) -> None:
    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    with database.read() as connection:
        assert set(sa.inspect(connection).get_table_names()) <= {
            "alembic_version",
            "sqlite_sequence",
        }


def test_examples_of_disagreements_keep_the_version_that_answered(database_url: str) -> None:
    opened = Database(database_url)
    names = ("model", "version", "hour", "flipped", "difference", "document", "application")
    with opened.write() as connection:
        schema.migrate(connection, "0032")
        table = sa.table("disagreement_examples", *map(sa.column, names))
        document = '{"against":7,"application":"shop"}'
        values = ("risk", 1, 500, True, 0.5, document, "shop")
        connection.execute(sa.insert(table).values(dict(zip(names, values, strict=True))))
        schema.migrate(connection, "0033")
        found = connection.execute(sa.text("SELECT against FROM disagreement_examples")).scalars()
        assert list(found) == [7]
    opened.close()
