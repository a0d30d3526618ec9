"""Fixtures that every package's tests may use."""

from tests.fixtures.postgres import (
    database,
    database_url,
    postgres_server,
    postgres_url,
    sqlite_database,
)

__all__ = ["database", "database_url", "postgres_server", "postgres_url", "sqlite_database"]
