"""Usage reaches control exactly once, whatever is killed in between."""

import asyncio
import os
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.shipper import REFUSED_SUFFIX, UsageShipper
from gateway.usage_log import SUFFIX, UsageLog
from protocol.usage import UsageReceipt, UsageRecord


def record(number: int) -> UsageRecord:
    return UsageRecord(
        number, "shop", "k1", "iris", 2, "stable", 200, 1, 1, 1, 1, 1, 1, f"p{number}"
    )


class Ledger:
    """Control's side: takes each byte offset of each segment once."""

    def __init__(self) -> None:
        self.wanted: dict[str, int] = {}
        self.records: list[UsageRecord] = []
        self.fail = 0
        self.forget_answer = 0
        self.refuse = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.fail:
            self.fail -= 1
            return httpx.Response(500)
        if self.refuse:
            return httpx.Response(422, text="damaged")
        segment, offset = request.url.params["segment"], int(request.url.params["offset"])
        wanted = self.wanted.get(segment, 0)
        if offset <= wanted < offset + len(request.content):
            fresh = request.content[wanted - offset :]
            assert fresh.endswith(b"\n")
            self.records += [msgspec.json.decode(x, type=UsageRecord) for x in fresh.splitlines()]
            self.wanted[segment] = offset + len(request.content)
        if self.forget_answer:
            self.forget_answer -= 1
            raise httpx.ReadError("the answer was lost")
        return httpx.Response(
            200, content=msgspec.json.encode(UsageReceipt(self.wanted.get(segment, 0)))
        )


def shipper(log: UsageLog, folder: Path, ledger: Ledger) -> UsageShipper:
    client = httpx.AsyncClient(transport=httpx.MockTransport(ledger), base_url="http://control")
    return UsageShipper(log, folder, client, gateway="g", interval_s=0.01)


async def write(log: UsageLog, numbers: range) -> None:
    loop = asyncio.get_running_loop()
    kept = [loop.create_future() for _ in numbers]
    for number, future in zip(numbers, kept, strict=True):
        log.append(record(number), future.set_result)
    assert all(await asyncio.gather(*kept))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def identifiers(ledger: Ledger) -> list[str]:
    return [found.prediction_id for found in ledger.records]


async def test_records_arrive_once_and_in_order(tmp_path: Path, ledger: Ledger) -> None:
    log = UsageLog(tmp_path, segment_bytes=1 << 20, now=lambda: 1.0)
    ship = shipper(log, tmp_path, ledger)
    await write(log, range(10))
    await ship.ship()
    await write(log, range(10, 15))
    await ship.ship()
    await ship.ship()
    assert identifiers(ledger) == [f"p{n}" for n in range(15)]


async def test_segments_turn_over_and_shipped_ones_are_deleted(
    tmp_path: Path, ledger: Ledger
) -> None:
    clock = iter(range(1, 1000))
    log = UsageLog(tmp_path, segment_bytes=200, now=lambda: float(next(clock)))
    ship = shipper(log, tmp_path, ledger)
    for n in range(10):
        await write(log, range(n, n + 1))
    assert len(list(tmp_path.glob("*" + SUFFIX))) > 2
    await ship.ship()
    assert identifiers(ledger) == [f"p{n}" for n in range(10)]
    assert [p.name for p in tmp_path.glob("*")] == [log.segment + SUFFIX]


async def test_lost_answers_and_errors_count_nothing_twice(tmp_path: Path, ledger: Ledger) -> None:
    log = UsageLog(tmp_path, segment_bytes=1 << 20, now=lambda: 1.0)
    ship = shipper(log, tmp_path, ledger)
    await write(log, range(5))
    ledger.fail, ledger.forget_answer = 1, 1
    for _ in range(2):
        with pytest.raises(httpx.HTTPError):
            await ship.ship()
    await write(log, range(5, 8))
    await ship.ship()
    assert identifiers(ledger) == [f"p{n}" for n in range(8)]


async def test_killed_process_leaves_its_records_to_the_next(
    tmp_path: Path, ledger: Ledger
) -> None:
    first = UsageLog(tmp_path, segment_bytes=1 << 20, now=lambda: 1.0)
    await write(first, range(5))
    half = shipper(first, tmp_path, ledger)
    await half.ship()
    await write(first, range(5, 9))
    with (tmp_path / (first.segment + SUFFIX)).open("ab") as file:
        file.write(b'[9,"shop","k1","ir')  # killed in the middle of a write
    second = UsageLog(tmp_path, segment_bytes=1 << 20, now=lambda: 2.0)
    await write(second, range(10, 12))
    await shipper(second, tmp_path, ledger).ship()
    assert identifiers(ledger) == [f"p{n}" for n in [*range(9), 10, 11]]


async def test_refused_segment_is_set_aside_and_others_go_on(
    tmp_path: Path, ledger: Ledger
) -> None:
    first = UsageLog(tmp_path, segment_bytes=1 << 20, now=lambda: 1.0)
    await write(first, range(2))
    second = UsageLog(tmp_path, segment_bytes=1 << 20, now=lambda: 2.0)
    ledger.refuse = True
    await shipper(second, tmp_path, ledger).ship()
    assert len(list(tmp_path.glob("*" + REFUSED_SUFFIX))) == 1
    ledger.refuse = False
    await write(second, range(2, 4))
    await shipper(second, tmp_path, ledger).ship()
    assert identifiers(ledger) == ["p2", "p3"]


async def test_records_after_a_refused_batch_of_the_live_segment_still_arrive(
    tmp_path: Path, ledger: Ledger
) -> None:
    log = UsageLog(tmp_path, segment_bytes=1 << 20, now=lambda: 1.0)
    ship = shipper(log, tmp_path, ledger)
    await write(log, range(2))
    ledger.refuse = True
    await ship.ship()
    ledger.refuse = False
    await write(log, range(2, 5))
    await ship.ship()
    assert identifiers(ledger) == ["p2", "p3", "p4"]


async def test_segment_that_cannot_be_opened_leaves_the_present_one_in_use(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1, 100))
    log = UsageLog(tmp_path, segment_bytes=200, now=lambda: float(next(clock)))
    await write(log, range(3))
    opened = os.open

    def none_left(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "open", none_left)
    kept = asyncio.get_running_loop().create_future()
    log.append(record(3), kept.set_result)
    assert await kept is False
    monkeypatch.setattr(os, "open", opened)
    await write(log, range(4, 6))
    await shipper(log, tmp_path, ledger).ship()
    assert identifiers(ledger) == ["p0", "p1", "p2", "p4", "p5"]


async def test_closed_log_writes_to_no_descriptor(tmp_path: Path) -> None:
    log = UsageLog(tmp_path, segment_bytes=1 << 20, now=lambda: 1.0)
    log.close()
    kept = asyncio.get_running_loop().create_future()
    log.append(record(1), kept.set_result)
    assert await kept is False


async def test_what_follows_half_a_line_is_not_lost_with_it(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = UsageLog(tmp_path, segment_bytes=1 << 20, now=lambda: 1000.0)
    await write(log, range(2))
    whole = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) > 20:
            return whole(descriptor, data[:20])
        raise OSError(5, "Input/output error")

    def stuck(_descriptor: int, _length: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("os.write", half)
        broken.setattr("os.ftruncate", stuck)
        log.append(record(2), lambda kept: None)
        log.flush()
    await write(log, range(3, 5))
    await shipper(log, tmp_path, ledger).ship()
    # Segments of one millisecond have no order.
    assert sorted(identifiers(ledger)) == ["p0", "p1", "p3", "p4"]


async def test_an_answer_that_fails_to_leave_keeps_no_other_waiting(tmp_path: Path) -> None:
    log = UsageLog(tmp_path, segment_bytes=1 << 20, now=lambda: 1000.0)

    def broken(_kept: bool) -> None:
        raise ValueError("a defect")

    released: list[bool] = []
    log.append(record(0), broken)
    log.append(record(1), released.append)
    log.flush()
    assert released == [True]
