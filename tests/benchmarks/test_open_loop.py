"""The open loop sends what is due and counts what comes back; the overload's figures follow."""

from benchmarks.admission import judge, summarise
from benchmarks.open_loop import OpenResult, OpenSpec, Reply, drive
from benchmarks.spec import Exchange
from benchmarks.systems import Served
from tests.benchmarks.test_load import RIGHT, answer, serving

SPEC = OpenSpec(rate=400, seconds=0.25, deadline_ms=100, connections=32)


async def test_every_request_is_answered_once_and_refusals_are_told_apart() -> None:
    taken = 0

    async def every_second(_body: bytes) -> list[bytes]:
        nonlocal taken
        taken += 1
        if taken % 2:
            return [answer(RIGHT)]
        return [answer(b"{}", "503 Service Unavailable", "Retry-After: 1")]

    async with serving(every_second) as port:
        served = Served(system="t", pid=1, port=port, path="/infer", api_key="k")
        found = await drive(served, [Exchange(body=b'{"row": 1}')], SPEC)
    assert found.unsent == 0
    assert found.sent == taken == len(found.replies) > 20
    assert found.retry_after == sum(reply.status == 503 for reply in found.replies) == taken // 2


def test_only_what_is_in_time_is_goodput_and_refusals_are_not_admitted() -> None:
    replies = [Reply(200, 0.05)] * 90 + [Reply(200, 0.2)] * 5 + [Reply(503, 0.001)] * 50
    found = OpenResult(sent=145, replies=replies, unsent=0, retry_after=50, late_s=0.0)
    overload = summarise([found, found], SPEC, [400.0, 400.0])
    assert overload.goodput == 90 / SPEC.seconds
    assert overload.admitted_p99_ms == 200.0
    assert (overload.refused, overload.refused_p50_ms) == (100, 1.0)
    assert [verdict.passed for verdict in judge(overload)] == [False, False, True]
