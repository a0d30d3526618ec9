"""Fixtures that every package's tests may use."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

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

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""How many threads NumPy and scikit-learn take, in the tests and in what they start: threads spin
while they wait for one another, most of a small fit's time. Read when NumPy is loaded."""
GC_THRESHOLDS = (50_000, 20, 100)
"""Allocations between collections: as it is by default they cost a tenth of the suite's time."""

os.environ |= dict.fromkeys(THREADS, "1")
gc.set_threshold(*GC_THRESHOLDS)


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Of the public authorities HTTP clients know one: nothing beyond loopback is asked, and all
    of them take each client 50 ms to read."""
    known = Path(certifi.where()).read_text()
    end = "-----END CERTIFICATE-----\n"
    folder = tmp_path_factory.mktemp("authority")
    (folder / "authority.pem").write_text(known[: known.index(end) + len(end)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certifi, "where", lambda: str(folder / "authority.pem"))
        yield
