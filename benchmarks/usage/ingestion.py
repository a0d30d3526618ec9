"""CPU time of taking usage in."""

import time

import msgspec

from benchmarks.usage.traffic import Scale, Traffic, between, records
from control.store.usage import UsageStore
from control.usage import MINUTE_MS
from control.usage_tiers import DAY
from registry.store.database import Database

COUNT = 10_000
BATCHES = (200, 1700)
"""Records in a batch: a quiet gateway's, and the most that is shipped at once."""


class Ingestion(msgspec.Struct, frozen=True, kw_only=True):
    """What taking in cost."""

    name: str
    batch: int
    cpu_ms_per_10k: float


def measure_ingestion(database: Database, now_ms: int) -> list[Ingestion]:
    """Take in records of one application, and of two hundred, in small batches and large ones."""
    end = now_ms // MINUTE_MS
    # So many requests a day that two minutes have enough of them.
    last = Traffic(Scale(requests=COUNT * DAY, days=1), end).days()[-1]
    many = records(between(last, end - 2, end))[:COUNT]
    few = [r for r in many if r.application == many[0].application] * COUNT
    store = UsageStore(database, lambda: now_ms)
    found = []
    for name, chosen in (("one application", few[:COUNT]), ("200 applications", many[:COUNT])):
        lines = [msgspec.json.encode(record) + b"\n" for record in chosen]
        for batch in BATCHES:
            segment = f"bench-{name}-{batch}-{time.time_ns()}"
            begin, offset = time.process_time(), 0
            for start in range(0, len(lines), batch):
                body = b"".join(lines[start : start + batch])
                offset = store.ingest("bench", segment, offset, body).next
            spent = time.process_time() - begin
            found.append(
                Ingestion(name=name, batch=batch, cpu_ms_per_10k=spent * 1000 * 10_000 / len(lines))
            )
    return found
