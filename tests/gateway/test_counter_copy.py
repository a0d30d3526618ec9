"""A killed gateway forgets no quota, and begins with no emptier window than it had."""

import asyncio
import random
from pathlib import Path

import pytest

from gateway.counter_copy import CounterKeeper
from gateway.usage_log import SUFFIX, UsageLog
from policies.limits import Limits
from policies.plan_limits import used_of
from policies.stores.base import ADMITTED
from policies.stores.memory import MemoryCounters
from protocol.configuration import PlanDoc, QuotaDoc, RateDoc
from protocol.usage import UsageRecord

SHOP = ("shop", "iris")
PLAN = PlanDoc(
    name="p",
    rates=(RateDoc(name="minute", requests=10_000, window_s=60),),
    quota=QuotaDoc(limit=100_000, unit="rows"),
)
LIMITS = Limits(PLAN)
NOON = 4_103_179_200.0


class Life:
    """One life of a gateway's counters, over a folder that outlives it."""

    def __init__(self, folder: Path, now: float) -> None:
        self.now = now
        self.folder = folder
        self.counters = MemoryCounters(now=lambda: self.now, monotonic=lambda: self.now - NOON)
        self.usage = UsageLog(folder / "usage", segment_bytes=1 << 20, now=lambda: self.now)
        self.keeper = CounterKeeper(
            self.counters, self.usage, folder / "counters.json", folder / "usage", lambda _: LIMITS
        )
        self.keeper.restore()

    async def call(self, rows: int, status: int = 200) -> None:
        """A call, acknowledged when this returns."""
        verdict = self.counters.take(SHOP, LIMITS, 0.0)
        assert verdict.refused == ADMITTED
        self.counters.settle(verdict, used_of(status, rows, 5))
        record = UsageRecord(
            int(self.now * 1000), "shop", "k1", "iris", 2, "stable", status, rows, 1, 5, 9, 1, 1,
            "p", "p",
        )  # fmt: skip
        written = asyncio.get_running_loop().create_future()
        self.usage.append(record, written.set_result)
        assert await written

    def left(self) -> tuple[int, int]:
        """(of the window, of the quota)"""
        numbers = self.counters.take(SHOP, LIMITS, 0.0, charge=False).numbers
        return numbers[0], numbers[2]

    async def ship(self) -> None:
        """Control takes every closed segment."""
        self.usage.roll()
        for path in sorted((self.folder / "usage").glob("*" + SUFFIX)):
            segment = path.name.removesuffix(SUFFIX)
            if segment != self.usage.segment:
                await self.keeper.release(segment)
                path.unlink()


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_when_what_was_acknowledged_is_counted_once(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    life = Life(tmp_path, NOON)
    calls = rows = 0
    for _ in range(80):
        match chance.choice(["call"] * 6 + ["fail", "save", "ship", "kill"]):
            case "call":
                more = chance.randint(1, 9)
                await life.call(more)
                calls, rows = calls + 1, rows + more
            case "fail":
                await life.call(0, 503)
                calls += 1
            case "save":
                await life.keeper.save()
            case "ship":
                await life.ship()
            case "kill":
                life = Life(tmp_path, life.now + 0.01)
    life = Life(tmp_path, life.now + 0.01)
    assert life.left() == (10_000 - calls, 100_000 - rows)


async def test_restored_windows_empty_when_the_last_admission_has_left_and_no_sooner(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path, NOON)
    await life.call(1)
    life.now += 30
    await life.keeper.save()
    life = Life(tmp_path, NOON + 40)
    assert life.left()[0] == 9_999
    life.now = NOON + 30 + 59.9
    assert life.left()[0] == 9_999
    life.now = NOON + 30 + 60.1
    assert life.left()[0] == 10_000


async def test_a_quota_of_an_earlier_month_is_not_restored(tmp_path: Path) -> None:
    life = Life(tmp_path, NOON)
    await life.call(5)
    await life.keeper.save()
    await life.call(7)
    assert Life(tmp_path, NOON + 86_400).left()[1] == 100_000 - 12
    assert Life(tmp_path, NOON + 32 * 86_400).left()[1] == 100_000


async def test_a_segment_is_not_deleted_before_a_copy_has_counted_it(tmp_path: Path) -> None:
    life = Life(tmp_path, NOON)
    await life.call(5)
    (tmp_path / "counters.json").mkdir()  # nothing can be written there
    with pytest.raises(OSError):  # noqa: PT011 -- whatever the system says
        await life.ship()
    assert len(list((tmp_path / "usage").glob("*" + SUFFIX))) == 2


@pytest.mark.parametrize("damaged", [b'{"counted":', b'{"counted":{"\xff":1},"totals":[]}'])
async def test_a_damaged_copy_and_a_torn_line_are_survived(tmp_path: Path, damaged: bytes) -> None:
    life = Life(tmp_path, NOON)
    await life.call(5)
    (tmp_path / "counters.json").write_bytes(damaged)
    with (tmp_path / "usage" / (life.usage.segment + SUFFIX)).open("ab") as file:
        file.write(b'[1,"\xff","k"]\n[1,"shop"')
    assert Life(tmp_path, NOON + 1).left()[1] == 100_000 - 5
