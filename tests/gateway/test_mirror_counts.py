"""Control learns what was mirrored and shed, each request once."""

import httpx
import msgspec

from gateway.connection import VersionKey
from gateway.mirror_counts import MirrorReports, since
from protocol.shadowing import MirrorCount, MirrorCounts, Shed

SHADOW: VersionKey = ("iris", 3)


def count(compared: int, **shed: int) -> MirrorCount:
    reasons: dict[Shed, int] = msgspec.convert(shed, dict[Shed, int])
    return MirrorCount(model="iris", version=3, compared=compared, shed=reasons)


class Listener:
    """Control, which answers as it is told to."""

    def __init__(self) -> None:
        self.status = 204
        self.taken: list[MirrorCounts] = []
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.status == 204:
            self.taken.append(msgspec.json.decode(request.content, type=MirrorCounts))
        return httpx.Response(self.status)


def reports(listener: Listener, present: dict[VersionKey, MirrorCount]) -> MirrorReports:
    transport = httpx.MockTransport(listener)
    client = httpx.AsyncClient(transport=transport, base_url="http://control")
    return MirrorReports(client, lambda: dict(present))


async def test_each_summary_holds_what_is_new_and_none_is_sent_without() -> None:
    listener, present = Listener(), {SHADOW: count(3, busy=2, budget=0)}
    told = reports(listener, present)
    await told.tell()
    await told.tell()
    present[SHADOW] = count(5, busy=2, budget=1)
    await told.tell()
    assert [one.sequence for one in listener.taken] == [1, 2]
    assert [one.counts for one in listener.taken] == [(count(3, busy=2),), (count(2, budget=1),)]
    assert len({one.instance for one in listener.taken}) == 1


async def test_a_summary_that_control_may_not_have_is_sent_again_as_it_was() -> None:
    listener, present = Listener(), {SHADOW: count(3)}
    told = reports(listener, present)
    listener.status = 503
    await told.tell()
    present[SHADOW] = count(9)
    await told.tell()
    listener.status = 204
    await told.tell()
    await told.tell()
    assert [(one.sequence, one.counts) for one in listener.taken] == [
        (1, (count(3),)),
        (2, (count(6),)),
    ]


async def test_what_control_will_never_take_is_given_up() -> None:
    listener, present = Listener(), {SHADOW: count(3)}
    told = reports(listener, present)
    listener.status = 422
    await told.tell()
    await told.tell()
    assert listener.asked == 1


def test_a_count_without_an_earlier_one_is_new_as_a_whole() -> None:
    assert since(count(3, busy=1, engine=0), None) == count(3, busy=1)
