"""Captured payloads: kept within their time and budget, read by few, and every reading is told."""

from base64 import b64decode

import httpx
import msgspec
import pytest

from control.store.capture_removals import find_removals
from control.store.captures import Captures
from protocol.captures import Captured, encode_batch
from protocol.frames import NO_HEADER
from registry.store.database import Database
from tests.control.running import START_MS, Control, FakeClock
from tests.control.tenants import Tenant, tenant

PROCESS = "0123456789abcdef"
DAY_S = 24 * 3600


def id_of(number: int) -> str:
    return f"{PROCESS}-1-{number:x}"


def capture(number: int = 1, **changes: object) -> Captured:
    one = Captured(
        id=id_of(number),
        at_ms=START_MS + number,
        application="shop",
        model="risk",
        version=1,
        variant="stable",
        operation=0,
        rows=1,
        shared=False,
        request_header=NO_HEADER,
        request_coding="gzip",
        answer_header=7,
        answer_coding="",
        request=b"request",
        answer=b"an answer",
    )
    return msgspec.structs.replace(one, **changes)


async def send(control: Control, *found: Captured) -> httpx.Response:
    return await control.cluster.post("/internal/v1/captures", content=encode_batch(list(found)))


async def listed(client: httpx.AsyncClient, model: str = "risk", **query: object) -> list[str]:
    answer = await client.get(f"/api/v1/models/{model}/captures", params=query)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["items"]]


async def test_a_payload_is_read_as_it_was_and_the_reading_is_audited(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk")
    assert (await send(control, capture())).status_code == 204
    found = (await control.admin.get(f"/api/v1/predictions/{id_of(1)}/capture")).json()
    assert b64decode(found["request"]) == b"request"
    assert b64decode(found["answer"]) == b"an answer"
    assert (found["path"], found["request_coding"], found["answer_header_length"]) == (
        "v2_infer",
        "gzip",
        7,
    )
    assert found["request_header_length"] is found["answer_coding"] is None
    entries = (await control.admin.get("/api/v1/audit?action=capture.read")).json()["items"]
    assert [(one["kind"], one["key"], one["actor"]) for one in entries] == [
        ("capture", id_of(1), "admin")
    ]


async def test_captures_are_listed_the_newest_first_in_pages(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk")
    await send(control, *(capture(n, version=1 + n % 2) for n in range(1, 6)))
    await send(control, capture(6, application="desk"))
    assert await listed(control.admin) == [id_of(n) for n in (6, 5, 4, 3, 2, 1)]
    assert await listed(control.admin, application="desk") == [id_of(6)]
    assert await listed(control.admin, version=2) == [id_of(n) for n in (5, 3, 1)]
    moment = "2027-01-15T08:00:00.004Z"
    assert await listed(control.admin, to=moment) == [id_of(n) for n in (3, 2, 1)]
    page = (await control.admin.get("/api/v1/models/risk/captures?limit=4")).json()
    assert await listed(control.admin, after=page["next"]) == [id_of(2), id_of(1)]
    assert "request" not in page["items"][0]


async def test_only_managers_and_who_has_sent_it_read_a_payload(control: Control) -> None:
    red, blue = await tenant(control, "red"), await tenant(control, "blue")
    try:
        await _check_readers(control, red, blue)
    finally:
        await red.close()
        await blue.close()


async def _check_readers(control: Control, red: Tenant, blue: Tenant) -> None:
    sent = capture(1, model=blue.public, application=red.application)
    assert (await send(control, sent)).status_code == 204
    path = f"/api/v1/predictions/{id_of(1)}/capture"
    statuses = {
        who: (await client.get(path)).status_code
        for who, client in {
            "its publisher": blue.publisher,
            "its sender": red.consumer,
            "another publisher": red.publisher,
            "another consumer": blue.consumer,
            "nobody": control.anonymous,
        }.items()
    }
    assert statuses == {
        "its publisher": 200,
        "its sender": 200,
        "another publisher": 404,
        "another consumer": 404,
        "nobody": 401,
    }
    captures = f"/api/v1/models/{blue.public}/captures"
    assert (await red.publisher.get(captures)).status_code == 403
    assert (await red.consumer.get(captures)).status_code == 403
    assert (await blue.publisher.get(captures)).status_code == 200
    assert (await red.publisher.put(f"/api/v1/models/{blue.public}")).status_code == 409


async def test_the_share_is_set_by_the_publisher_in_tenths_of_a_percent(control: Control) -> None:
    path = "/api/v1/models/risk"
    plain = (await control.admin.put(path)).json()
    assert (plain["capture_percent"], plain["capture_days"]) == (0.0, 30)
    for wrong in (-1, 100.1, 0.05, "1"):
        refused = await control.admin.put(path, json={"capture_percent": wrong})
        assert refused.status_code == 422
    assert (await control.admin.put(path, json={"capture_days": 0})).status_code == 422
    body = {"capture_percent": 0.3, "capture_days": 7}
    assert (await control.admin.put(path, json=body)).json()["capture_percent"] == 0.3
    newest = {one.kind: one for one in control.services.stream.rows(0, 1000)}
    assert msgspec.json.decode(newest["model"].doc)["capture_permille"] == 3
    entry = (await control.admin.get("/api/v1/audit?action=model.changed")).json()["items"][0]
    assert entry["after"]["capture_permille"] == 3


async def test_captures_end_with_their_retention(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk", json={"capture_days": 2})
    await send(control, capture(1), capture(2, at_ms=START_MS + 1000 * DAY_S))
    control.clock.advance(2.5 * DAY_S)
    assert control.services.captures.expire() == 1
    assert await listed(control.admin) == [id_of(2)]
    gone = await control.admin.get(f"/api/v1/predictions/{id_of(1)}/capture")
    assert gone.status_code == 404


async def test_removed_captures_are_gone_for_good(control: Control) -> None:
    await control.admin.put("/api/v1/models/risk")
    await send(control, capture(1), capture(2, application="desk"))
    path = "/api/v1/models/risk/captures"
    assert (await control.admin.delete(f"{path}?application=desk")).json() == {"removed": 1}
    assert await listed(control.admin) == [id_of(1)]
    assert (await control.admin.delete(path)).json() == {"removed": 1}
    assert await listed(control.admin) == []


@pytest.mark.parametrize("query", ["", "?application=shop"])
async def test_what_was_removed_does_not_come_back_however_late_it_is_sent(
    control: Control, query: str
) -> None:
    await control.admin.put("/api/v1/models/risk")
    before, others = capture(1), capture(2, application="desk")
    await send(control, before)
    control.clock.advance(60)
    await control.admin.delete(f"/api/v1/models/risk/captures{query}")
    control.clock.advance(10 * DAY_S)
    after = capture(4, at_ms=control.clock())
    await send(control, before, capture(3), others, after)
    kept = [id_of(4)] if not query else [id_of(4), id_of(2)]
    assert await listed(control.admin) == kept
    control.services.captures.expire()
    await send(control, before)
    assert await listed(control.admin) == kept


def test_removals_are_remembered_as_long_as_payload_may_be_kept(
    control: Control, database: Database
) -> None:
    captures = control.services.captures
    captures.remove("risk", "shop")
    for days, known in ((366, True), (1, False)):
        control.clock.advance(days * DAY_S)
        captures.expire()
        with database.read() as connection:
            assert find_removals(connection, "risk").covers("shop", START_MS) is known


async def test_the_oldest_leave_when_the_budget_is_full(
    control: Control, database: Database
) -> None:
    await control.admin.put("/api/v1/models/risk")
    size = len(b"request" + b"an answer")
    captures = Captures(database, FakeClock(), 3 * size + 1)
    captures.ingest([capture(n) for n in (1, 2)])
    captures.ingest([capture(n) for n in (3, 4, 5)])
    assert await listed(control.admin) == [id_of(n) for n in (5, 4, 3)]
    assert captures.ingest([capture(6, request=b"x" * 100)]) == 0
    assert captures.ingest([capture(5), capture(7, model="unknown")]) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"\x00secret",
        encode_batch([capture(1, id="../../x")]),
        encode_batch([capture(1, operation=2)]),
        encode_batch([capture(1, model="m" * 64)]),
        encode_batch([capture(1, version=0)]),
    ],
)
async def test_what_no_gateway_sends_is_refused_without_its_content(
    control: Control, body: bytes
) -> None:
    answer = await control.cluster.post("/internal/v1/captures", content=body)
    assert answer.status_code == 422
    assert "secret" not in answer.text
    assert (await control.admin.post("/internal/v1/captures", content=body)).status_code == 401
