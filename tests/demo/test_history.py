"""The usage of the days before, as the demo makes it up."""

from collections import Counter

import httpx
import msgspec
import pytest

from control.usage import decode_lines
from demo import history
from protocol.usage import UsageReceipt

NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000
HABITS = [
    history.Habit(
        application="board", key="key-1", model="m", plan="trial", hourly=40, rows=4, infer_us=700,
        versions=((1e9, 1), (4.0, 2)),
    ),
    history.Habit(
        application="notebook", key="key-2", model="m", plan="trial", hourly=10, rows=9,
        infer_us=700, versions=((1e9, 1),), office=False, impatience=0.1,
    ),
]  # fmt: skip


def test_the_same_moment_gives_the_same_history_in_the_order_of_time() -> None:
    found = list(history.records(HABITS, NOW_MS))
    assert found == list(history.records(HABITS, NOW_MS))
    times = [record.at_ms for record in found]
    assert times == sorted(times)
    assert times[0] >= NOW_MS - history.DAYS * DAY_MS - history.QUIET_MS
    assert times[-1] < NOW_MS - history.QUIET_MS


def test_it_has_refusals_mistakes_nights_and_a_new_version() -> None:
    found = list(history.records(HABITS, NOW_MS))
    statuses = Counter(record.status for record in found)
    assert statuses[200] > 0.9 * len(found)
    assert statuses[422] > 0
    assert statuses[429] > 0
    assert {r.application for r in found if r.status == 429} == {"notebook"}
    board = [record for record in found if record.application == "board" and record.version]
    days_ago = {version: {(NOW_MS - r.at_ms) / DAY_MS for r in board if r.version == version}
                for version in (1, 2)}  # fmt: skip
    assert min(days_ago[1]) > 4.0 >= max(days_ago[2])
    by_day = Counter(record.at_ms // DAY_MS for record in board)
    assert max(by_day.values()) > 5 * min(by_day.values()), "weekends are quiet"
    assert all(record.rows == 0 for record in found if record.status != 200)


@pytest.mark.parametrize("begun", [False, True])
def test_it_is_sent_whole_and_once(begun: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = bytearray(b"x" * begun)

    def control(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer cluster"
        assert request.url.path == "/internal/v1/usage"
        if request.content:
            assert int(request.url.params["offset"]) == len(taken)
            taken.extend(request.content)
        return httpx.Response(200, content=msgspec.json.encode(UsageReceipt(len(taken))))

    def client(url: str, token: str, *, timeout_s: float) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            transport=httpx.MockTransport(control),
            timeout=timeout_s,
        )

    monkeypatch.setattr(history, "control_client", client)
    sent = history.ship("http://control", "cluster", HABITS, NOW_MS)
    if begun:
        assert (sent, bytes(taken)) == (0, b"x")
        return
    batch = decode_lines(bytes(taken))
    assert batch.damaged == 0
    assert batch.records == list(history.records(HABITS, NOW_MS))
    assert sent == len(batch.records)
