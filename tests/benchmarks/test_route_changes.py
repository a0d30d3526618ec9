"""What a run of route changes is judged by."""

import asyncio
import json

import pytest

from benchmarks.route_changes.__main__ import Times, judge
from benchmarks.route_changes.model import answered
from benchmarks.route_changes.traffic import Traffic

NONE = Times.of([])


def verdicts(**given: object) -> list[bool]:
    found = {"requests": 10, "failed": 0, "misversioned": 0, "followed": NONE, "rollback": NONE}
    return [verdict.passed for verdict in judge(**{**found, "lost": 0, **given})]  # type: ignore[arg-type]


def test_every_target_is_judged() -> None:
    slow = Times.of([1.0, 1000.0])
    assert verdicts() == [True, True, True, True]
    assert verdicts(failed=1) == [False, True, True, True]
    assert verdicts(requests=0) == [False, True, True, True]
    assert verdicts(misversioned=1) == [True, False, True, True]
    assert verdicts(followed=slow) == [True, True, False, True]
    assert verdicts(lost=1) == [True, True, False, True]
    assert verdicts(rollback=slow) == [True, True, True, False]


def test_times_are_those_of_the_slowest_too() -> None:
    found = Times.of([float(n) for n in range(1, 101)])
    assert (found.count, found.p50, found.p99, found.most) == (100, 50.0, 99.0, 100.0)


@pytest.mark.parametrize("body", [b"{}", b'{"outputs": []}', b"no json"])
def test_what_is_no_answer_is_told_so(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- of either kind
        answered(body)


async def test_an_answer_of_another_version_and_a_failure_are_counted() -> None:
    """A server that lies once and fails once."""
    answers = iter([(200, 1, 1.0), (200, 2, 1.0), (503, 2, 2.0), (200, 2, 2.0)])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for status, version, number in answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                await reader.readexactly(length)
                body = json.dumps({"outputs": [{"data": [number]}]}).encode()
                writer.write(
                    f"HTTP/1.1 {status} x\r\nTollway-Version: {version}\r\n"
                    f"Tollway-Variant: stable\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
            traffic._stop.set()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    traffic = Traffic(server.sockets[0].getsockname()[1], ["key"], 1)
    await traffic._all()
    server.close()
    assert dict(traffic.answers) == {(1, "stable"): 1, (2, "stable"): 1}
    assert traffic.misversioned == 1
    assert traffic.first_failure == "version 2 answered 1"
    assert traffic.failed >= 1
    assert sorted(traffic.seen) == [1, 2]
