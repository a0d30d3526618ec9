"""What gateways have mirrored and shed: counted once, by hour, and in the report of the shadow."""

import msgspec
import pytest

from control.store.disagreements import DisagreementStore
from control.store.mirrored import MirroredStore
from protocol.shadowing import MirrorCount, MirrorCounts, Shed
from registry.store.database import Database
from tests.control.running import START_MS, Control, FakeClock
from tests.control.test_composition import register

HOUR = START_MS // 3_600_000
INTERNAL = "/internal/v1/mirrored"


def counts(
    sequence: int, compared: int, shed: dict[Shed, int] | None = None, instance: str = "g1"
) -> MirrorCounts:
    count = MirrorCount(model="risk", version=1, compared=compared, shed=shed or {})
    return MirrorCounts(instance=instance, sequence=sequence, counts=(count,))


@pytest.fixture
def store(database: Database, clock: FakeClock) -> MirroredStore:
    return MirroredStore(database, clock)


def test_a_summary_that_comes_again_is_counted_once_and_hours_add_up(
    store: MirroredStore, clock: FakeClock
) -> None:
    first, second = counts(1, 10, {"busy": 3}), counts(2, 5, {"busy": 1, "engine": 2})
    assert [store.take(one) for one in (first, first, second, first)] == [True, False, True, False]
    assert store.take(counts(1, 1, instance="g2"))
    clock.advance(3600)
    assert store.take(counts(3, 7))
    assert store.outcomes("risk", 1, HOUR, HOUR + 1) == {"compared": 16, "busy": 4, "engine": 2}
    assert store.outcomes("risk", 1, HOUR + 1, HOUR + 2) == {"compared": 7}
    assert store.outcomes("risk", 2, HOUR, HOUR + 2) == {}


def test_counts_end_with_the_disagreements(
    store: MirroredStore, database: Database, clock: FakeClock
) -> None:
    store.take(counts(1, 10))
    clock.advance(31 * 86_400)
    assert DisagreementStore(database, clock, kept_days=30).retain() == 2
    assert store.outcomes("risk", 1, HOUR, HOUR + 1) == {}


async def test_the_report_says_what_was_scored_and_why_the_rest_was_not(control: Control) -> None:
    await register(control.admin)
    path = "/api/v1/models/risk/shadows/1/report"
    assert (await control.admin.get(path)).json()["mirrored"] == {"scored": 0, "shed": {}}
    summary = msgspec.json.encode(counts(1, 10, {"no_engine": 4}))
    for _ in range(2):
        assert (await control.cluster.post(INTERNAL, content=summary)).status_code == 204
    found = (await control.admin.get(path)).json()
    assert found["mirrored"] == {"scored": 10, "shed": {"no_engine": 4}}
    assert found["items"] == []


async def test_what_no_gateway_says_is_refused(control: Control) -> None:
    for body, status in (
        (b"{", 400),
        (b"{}", 422),
        (msgspec.json.encode(counts(0, 1)), 422),
        (msgspec.json.encode(counts(1, -1)), 422),
        (msgspec.json.encode(counts(1, 1, instance="g" * 65)), 422),
        (msgspec.json.encode(counts(1, 1)).replace(b"risk", b"a b"), 422),
        (msgspec.json.encode(counts(1, 1, {"busy": 1})).replace(b"busy", b"bust"), 422),
    ):
        assert (await control.cluster.post(INTERNAL, content=body)).status_code == status, body
        assert (await control.admin.post(INTERNAL, content=body)).status_code == 401
