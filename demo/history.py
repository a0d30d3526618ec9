"""Usage of the days before: what the demo's applications would have called, from a fixed seed.

It goes to control as every gateway's usage log does: lines of records, each offset of a segment
counted once. So a second run, and one that was interrupted, count nothing twice.
"""

import asyncio
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import msgspec

from protocol.usage import UsageReceipt, UsageRecord
from runtime.addresses import control_client

DAYS = 10
HOUR_MS = 3_600_000
QUIET_MS = 5 * 60_000
"""Before now: from there on, what gateways report is the usage."""
GATEWAY = "demo-history"
SEGMENT = "days-before"
BATCH_BYTES = 256 << 10
MINUTES = 8
"""Of an hour, in which requests come."""
SEED = 7
OFFICE = (8, 18)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Habit:
    """How an application calls a model."""

    application: str
    key: str
    model: str
    plan: str
    hourly: float
    """Requests of a working hour."""
    rows: int
    infer_us: int
    versions: tuple[tuple[float, int], ...]
    """(days ago since when, version number), the longest ago first."""
    office: bool = True
    """Whether it rests at night and on weekends."""
    mistakes: float = 0.01
    """Share of requests that the model refuses: 422."""
    impatience: float = 0.0
    """Share of requests over the plan's rate: 429."""


def records(habits: list[Habit], now_ms: int) -> Iterator[UsageRecord]:
    """What was answered from :data:`DAYS` ago until a few minutes ago, oldest first."""
    chance = random.Random(SEED)
    end = now_ms - QUIET_MS
    first = end - DAYS * 24 * HOUR_MS
    for hour in range(first - first % HOUR_MS, end, HOUR_MS):
        found = [one for habit in habits for one in _hour(chance, habit, hour, now_ms)]
        yield from sorted((one for one in found if first <= one.at_ms < end), key=_at)


def _at(record: UsageRecord) -> int:
    return record.at_ms


def _hour(chance: random.Random, habit: Habit, hour_ms: int, now_ms: int) -> Iterator[UsageRecord]:
    minutes = [chance.randrange(60) for _ in range(MINUTES)]
    expected = habit.hourly * _activity(habit, hour_ms)
    for _ in range(max(0, round(chance.gauss(expected, math.sqrt(expected))))):
        at_ms = hour_ms + chance.choice(minutes) * 60_000 + chance.randrange(60_000)
        yield _record(chance, habit, at_ms, now_ms)


def _activity(habit: Habit, hour_ms: int) -> float:
    """Part of a working hour's requests: fewer at night and at weekends, and slowly more."""
    hour = hour_ms // HOUR_MS
    day, clock = divmod(hour, 24)
    if not habit.office:
        return 0.7 + 0.3 * math.sin((clock - 9) * math.pi / 12)
    begin, end = OFFICE
    if (day + 3) % 7 >= 5:  # the epoch began on a Thursday
        return 0.08
    if not begin <= clock < end:
        return 0.1
    return 0.6 + 0.4 * math.sin((clock - begin) * math.pi / (end - begin))


def _record(chance: random.Random, habit: Habit, at_ms: int, now_ms: int) -> UsageRecord:
    queue_us = int(chance.lognormvariate(math.log(140), 0.5))
    infer_us = int(habit.infer_us * chance.lognormvariate(0, 0.25))
    if chance.random() < 0.01:  # another process had the core
        infer_us *= 8
    total_us = queue_us + infer_us + int(chance.lognormvariate(math.log(900), 0.35))
    rows = max(1, round(chance.expovariate(1 / habit.rows)))
    days_ago = (now_ms - at_ms) / (24 * HOUR_MS)
    version = next(
        (number for since, number in reversed(habit.versions) if days_ago <= since),
        habit.versions[0][1],
    )
    luck, status = chance.random(), 200
    if luck < habit.impatience:
        status, version, rows, queue_us, infer_us, total_us = 429, 0, 0, 0, 0, 250
    elif luck < habit.impatience + habit.mistakes:
        status, infer_us, total_us = 422, 0, total_us - infer_us
    elif luck > 0.9990:
        status, infer_us = 503, 0
    return UsageRecord(
        at_ms=at_ms,
        application=habit.application,
        key=habit.key,
        model=habit.model,
        version=version,
        variant="stable",
        status=status,
        rows=rows if status == 200 else 0,
        queue_us=queue_us,
        infer_us=infer_us,
        total_us=total_us,
        bytes_in=300 + 180 * rows,
        bytes_out=120 + 60 * rows,
        prediction_id="",
        plan=habit.plan,
        failed=False,
    )


def ship(control_url: str, cluster_token: str, habits: list[Habit], now_ms: int) -> int:
    """Send it, unless an earlier run has. How many records were sent."""
    return asyncio.run(_ship(control_url, cluster_token, habits, now_ms))


async def _ship(control_url: str, cluster_token: str, habits: list[Habit], now_ms: int) -> int:
    async with control_client(control_url, cluster_token, timeout_s=60) as client:
        # Another moment gives other lines: a segment that was begun is not gone on with.
        if await _send(client, 0, b"") > 0:
            return 0
        offset = sent = 0
        lines: list[bytes] = []
        size = 0
        for record in records(habits, now_ms):
            lines.append(_encode(record) + b"\n")
            size += len(lines[-1])
            sent += 1
            if size >= BATCH_BYTES:
                offset = await _send(client, offset, b"".join(lines))
                lines, size = [], 0
        if lines:
            await _send(client, offset, b"".join(lines))
        return sent


async def _send(client: httpx.AsyncClient, offset: int, body: bytes) -> int:
    """Have lines counted; the offset that is wanted next."""
    params: dict[str, str | int] = {"gateway": GATEWAY, "segment": SEGMENT, "offset": offset}
    answer = await client.post("/internal/v1/usage", params=params, content=body)
    return msgspec.json.decode(answer.raise_for_status().content, type=UsageReceipt).next
