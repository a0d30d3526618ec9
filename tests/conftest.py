"""Fixtures that every package's tests may use."""

from tests.fixtures.postgres import (
    database,
    database_url,
    postgres_server,
    postgres_url,
    sqlite_database,
)
from tests.fixtures.redis import own_redis, redis_server
from tests.fixtures.seaweed import s3_server

__all__ = [
    "database",
    "database_url",
    "own_redis",
    "postgres_server",
    "postgres_url",
    "redis_server",
    "s3_server",
    "sqlite_database",
]
