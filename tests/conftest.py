"""Fixtures that every package's tests may use."""

import gc
import os

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
