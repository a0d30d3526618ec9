"""Usage is counted exactly once, whatever is sent twice, late, torn or out of order."""

import asyncio
import base64
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from control import histogram, usage
from control.store.tables import usage_offsets
from control.store.usage import UsageStore
from control.store.usage_tables import usage_minutes
from protocol.usage import UsageRecord
from registry.store.database import Database
from tests.control.running import START_MS, Control, FakeClock

MINUTE = START_MS // 60_000


def record(number: int = 0, **changes: object) -> UsageRecord:
    fields: dict[str, object] = {
        "at_ms": START_MS + number * 1000,
        "application": "shop",
        "key": "key-1",
        "model": "risk",
        "version": 1,
        "variant": "stable",
        "status": 200,
        "rows": 2,
        "queue_us": 10,
        "infer_us": 100,
        "total_us": 1000,
        "bytes_in": 300,
        "bytes_out": 50,
        "prediction_id": f"p{number}",
    }
    return msgspec.convert(list({**fields, **changes}.values()), UsageRecord)


def lines(records: list[UsageRecord]) -> bytes:
    return b"".join(msgspec.json.encode(one) + b"\n" for one in records)


def total(database: Database) -> Counter[str]:
    columns = [c.name for c in usage_minutes.columns if c.name not in usage_minutes.primary_key]
    names = [name for name in columns if name != "latency"]
    with database.read() as connection:
        rows = connection.execute(sa.select(usage_minutes)).mappings().all()
    sums: Counter[str] = Counter()
    for row in rows:
        sums.update({name: row[name] for name in names})
        sums["latency"] += sum(histogram.decode(row["latency"]).values())
    return sums


def test_a_batch_is_counted_once_however_often_it_is_sent(database: Database) -> None:
    store = UsageStore(database, FakeClock())
    body = lines([record(n) for n in range(5)])

    for _ in range(3):
        assert store.ingest("g1", "s1", 0, body).next == len(body)

    sums = total(database)
    assert (sums["requests"], sums["rows"], sums["latency"]) == (5, 10, 5)
    assert (sums["queue_us"], sums["infer_us"], sums["total_us"]) == (50, 500, 5000)
    assert (sums["bytes_in"], sums["bytes_out"]) == (1500, 250)


def test_an_overlap_is_skipped_a_gap_is_not_taken_a_torn_end_waits(database: Database) -> None:
    store = UsageStore(database, FakeClock())
    body = lines([record(n) for n in range(4)])
    line = len(lines([record(0)]))

    assert store.ingest("g1", "s1", line, body[line:]).next == 0
    assert store.ingest("g1", "s1", 0, body[: line + 7]).next == line
    assert store.ingest("g1", "s1", 0, body[: line + 7]).next == line
    assert store.ingest("g1", "s1", 2 * line, body[2 * line :]).next == line
    assert store.ingest("g1", "s1", 0, body).next == len(body)
    assert store.ingest("g1", "s1", len(body), b"").next == len(body)

    assert total(database)["requests"] == 4


def test_segments_and_gateways_are_counted_apart(database: Database) -> None:
    store = UsageStore(database, FakeClock())
    body = lines([record(0)])
    for gateway in ("g1", "g2"):
        for segment in ("s1", "s2"):
            store.ingest(gateway, segment, 0, body)

    assert total(database)["requests"] == 4


def test_a_damaged_line_costs_itself_only_and_is_counted(database: Database) -> None:
    store = UsageStore(database, FakeClock())
    body = lines([record(0)]) + b"\xff{garbage\n\n" + lines([record(1)])

    done = store.ingest("g1", "s1", 0, body)

    assert (done.next, done.records, done.damaged) == (len(body), 2, 2)
    with database.read() as connection:
        row = connection.execute(sa.select(usage_offsets)).one()
    assert (row.records, row.damaged) == (2, 2)


def test_values_that_no_column_takes_do_not_block_the_log(database: Database) -> None:
    store = UsageStore(database, FakeClock())
    odd = [
        record(0, model="x" * 1000),
        record(1, application="a\x00b"),
        record(2, variant="v" * 100),
        record(3, version=2**40),
        record(4, status=-1, key="é" * 40),
    ]

    assert store.ingest("g1", "s1", 0, lines(odd)).records == 5

    assert total(database)["requests"] == 5


def test_a_version_that_a_known_model_lacks_is_counted_under_the_models_name(
    database: Database,
) -> None:
    store = UsageStore(database, FakeClock())
    missed = [record(0, model="risk", version=0, status=404) for _ in range(50)]

    store.ingest("g1", "s1", 0, lines(missed))

    with database.read() as connection:
        rows = connection.execute(sa.select(usage_minutes.c.model, usage_minutes.c.errors)).all()
    assert [tuple(row) for row in rows] == [("risk", 50)]


def test_batches_that_arrive_at_once_are_counted_once(database: Database) -> None:
    """Two gateways write the same roll-up rows; each sends every batch twice, in parallel."""
    bodies = {name: lines([record(n % 3) for n in range(40)]) for name in ("g1", "g2")}
    store = UsageStore(database, FakeClock())

    def ship(name: str) -> None:
        acknowledged = 0
        while acknowledged < len(bodies[name]):
            batch = bodies[name][acknowledged : acknowledged + 700]
            acknowledged = store.ingest(name, "s1", acknowledged, batch).next

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(ship, name) for name in ("g1", "g2") * 2]:
            done.result()

    sums = total(database)
    assert sums["requests"] == sums["latency"] == 80
    assert sums["rows"] == 160


class CrashError(Exception):
    """Control died before it could commit."""


class DyingDatabase(Database):
    """Shares the connections of another database, and dies at the end of every transaction."""

    def __init__(self, other: Database) -> None:
        self.engine = other.engine
        self.is_sqlite = other.is_sqlite

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        with super().write() as connection:
            yield connection
            raise CrashError


@pytest.mark.parametrize("seed", range(4))
def test_replays_with_duplicates_gaps_torn_ends_and_restarts_count_each_record_once(
    database_url: str, database: Database, seed: int
) -> None:
    """A gateway ships two segments through a lossy wire to a control that keeps dying."""
    dice = random.Random(seed)
    segments = {
        name: [
            record(dice.randrange(600), status=dice.choice([200, 200, 400, 503]), rows=n)
            for n in range(dice.randrange(30, 80))
        ]
        for name in ("s1", "s2")
    }
    logs = {name: lines(records) for name, records in segments.items()}
    acknowledged = dict.fromkeys(logs, 0)
    store = UsageStore(database, FakeClock())
    while any(acknowledged[name] < len(log) for name, log in logs.items()):
        name = dice.choice(list(logs))
        log = logs[name]
        start = dice.choice([acknowledged[name], 0, acknowledged[name] + 40])
        # A sender begins at the start of a line; a batch may end anywhere.
        start = 0 if start == 0 else log.rfind(b"\n", 0, min(start, len(log))) + 1
        batch = log[start : start + dice.randrange(0, 2000)]
        if dice.random() < 0.2:
            with suppress(CrashError):
                UsageStore(DyingDatabase(database), FakeClock()).ingest("g1", name, start, batch)
            store = UsageStore(database, FakeClock())  # a restart
            continue
        answered = store.ingest("g1", name, start, batch).next
        if dice.random() < 0.2:
            continue  # the answer was lost on its way
        assert answered >= acknowledged[name]
        acknowledged[name] = answered

    everything = segments["s1"] + segments["s2"]
    sums = total(database)
    assert sums["requests"] == sums["latency"] == len(everything)
    assert sums["rows"] == sum(one.rows for one in everything)
    assert sums["errors"] == sum(one.status >= 400 for one in everything)


texts = st.binary(max_size=60)


@given(st.lists(st.one_of(texts, st.just(msgspec.json.encode(record(1)))), max_size=8), texts)
def test_decoding_takes_whole_lines_and_never_fails(whole: list[bytes], torn: bytes) -> None:
    torn = torn.replace(b"\n", b"")
    body = b"".join(line + b"\n" for line in whole) + torn

    batch = usage.decode_lines(body)

    assert batch.consumed == len(body) - len(torn)
    assert len(batch.records) + batch.damaged == body.count(b"\n")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**7)), max_size=50))
def test_aggregating_loses_nothing(shapes: list[tuple[int, int]]) -> None:
    records = [record(60 * minute, total_us=us) for minute, us in shapes]

    rollups = usage.aggregate(records)

    assert sum(one.requests for one in rollups.values()) == len(records)
    assert sum(one.total_us for one in rollups.values()) == sum(us for _, us in shapes)
    assert {key.minute - MINUTE for key in rollups} == {minute for minute, _ in shapes}


def test_explanations_are_counted_as_calls_and_not_in_latency() -> None:
    explained = msgspec.structs.replace(record(0, total_us=900_000), explanation=True)
    records = [record(0, total_us=1000), explained]
    [rollup] = usage.aggregate(records).values()
    assert (rollup.requests, rollup.total_us) == (2, 901_000)
    assert sum(rollup.latency.values()) == 1


async def ship(control: Control, records: list[UsageRecord]) -> None:
    answer = await control.cluster.post(
        "/internal/v1/usage",
        params={"gateway": "g1", "segment": "s1", "offset": 0},
        content=lines(records),
    )
    assert answer.json() == {"next": len(lines(records))}


async def test_the_report_sums_by_what_was_asked(control: Control) -> None:
    await ship(
        control,
        [
            *[record(n, total_us=1000) for n in range(98)],
            record(10, total_us=200_000),
            record(10, total_us=200_000, status=503, version=2, rows=0),
        ],
    )
    control.clock.advance(120)

    everything = (await control.admin.get("/api/v1/usage")).json()["items"]
    by_status = (await control.admin.get("/api/v1/usage", params={"by": "status,version"})).json()
    by_minute = (await control.admin.get("/api/v1/usage", params={"step": "minute"})).json()

    assert len(everything) == 1
    assert everything[0]["requests"] == 100
    assert everything[0]["rows"] == 198
    assert everything[0]["errors"] == 1
    assert everything[0]["p50_ms"] == pytest.approx(1.0, rel=0.016)
    assert everything[0]["p99_ms"] == pytest.approx(200.0, rel=0.016)
    assert everything[0]["compute_ms"] == 10.0
    assert [(one["version"], one["status"], one["requests"]) for one in by_status["items"]] == [
        (1, 200, 99),
        (2, 503, 1),
    ]
    assert "application" not in by_status["items"][0]
    assert [one["requests"] for one in by_minute["items"]] == [62, 38]
    assert by_minute["items"][0]["time"] == "2027-01-15T08:00:00.000Z"


@pytest.mark.parametrize("step", ["", "&step=day", "&by=application&step=minute"])
async def test_a_report_to_the_end_of_time_ends(control: Control, step: str) -> None:
    await ship(control, [record(0)])
    path = f"/api/v1/usage?from=2027-01-01T00:00:00Z&to=9999-12-31T23:59:59Z{step}"

    answer = await asyncio.wait_for(control.admin.get(path), 60)

    assert [one["requests"] for one in answer.json()["items"]] == [1]


@pytest.mark.parametrize("start", ["0001-01-01T00:00:00%2B14:00", "1969-12-31T23:59:59Z"])
async def test_a_report_from_before_time_is_refused(control: Control, start: str) -> None:
    answer = await control.admin.get(f"/api/v1/usage?from={start}")
    assert answer.status_code == 422
    answer = await control.admin.get(f"/api/v1/audit/answered?application=a&model=m&at={start}")
    assert answer.status_code == 422


async def test_the_report_keeps_to_its_span_and_pages(control: Control) -> None:
    await ship(control, [record(60 * n) for n in range(5)])
    span = {"from": "2027-01-15T08:01:00Z", "to": "2027-01-15T08:04:00Z", "step": "minute"}

    whole = (await control.admin.get("/api/v1/usage", params=span)).json()
    first = (await control.admin.get("/api/v1/usage", params={**span, "limit": "2"})).json()
    rest = (
        await control.admin.get(
            "/api/v1/usage", params={**span, "limit": "2", "after": first["next"]}
        )
    ).json()

    assert [one["time"][11:16] for one in whole["items"]] == ["08:01", "08:02", "08:03"]
    assert first["items"] + rest["items"] == whole["items"]
    assert rest["next"] is None


async def test_reports_that_make_no_sense_are_refused(control: Control) -> None:
    for params in (
        {"by": "colour"},
        {"step": "year"},
        {"from": "yesterday"},
        {"from": "2027-01-15T08:00:00"},
        {"from": "2027-01-15T08:00:00Z", "to": "2026-01-15T08:00:00Z"},
        {"after": "x"},
    ):
        refused = await control.admin.get("/api/v1/usage", params=params)
        assert refused.status_code == 422, params
        assert next(iter(params)) in refused.json()["detail"]


@pytest.mark.parametrize(
    ("by", "dimensions"),
    [("version", [1 << 63]), ("version", [-1]), ("application", ["a\0"]), ("application", [7])],
)
async def test_a_page_that_was_made_up_is_refused(
    control: Control, by: str, dimensions: list[object]
) -> None:
    place = msgspec.msgpack.encode([0, 10, 0, dimensions])
    after = base64.urlsafe_b64encode(place).decode().rstrip("=")
    refused = await control.admin.get("/api/v1/usage", params={"by": by, "after": after})
    assert refused.status_code == 422
    assert "query.after" in refused.json()["detail"]


async def test_usage_of_a_badly_named_gateway_is_refused(control: Control) -> None:
    for params in (
        {"gateway": "G 1", "segment": "s", "offset": "0"},
        {"gateway": "g", "segment": "", "offset": "0"},
        {"gateway": "g", "segment": "s", "offset": "-1"},
        {"gateway": "g", "segment": "s"},
    ):
        refused = await control.cluster.post("/internal/v1/usage", params=params, content=b"")
        assert refused.status_code == 422, params


def test_a_file_database_survives_what_was_ingested(tmp_path: Path) -> None:
    from control.store import schema

    url = f"sqlite:///{tmp_path / 'again.db'}"
    body = lines([record(0)])
    for _ in range(2):
        database = Database(url)
        schema.upgrade(database)
        assert UsageStore(database, FakeClock()).ingest("g", "s", 0, body).next == len(body)
        assert total(database)["requests"] == 1
        database.close()
