"""When a key was last used is learned from usage."""

from datetime import datetime

import msgspec
import sqlalchemy as sa

from protocol.usage import UsageRecord
from tests.control.keys import make, rotate
from tests.control.running import START_MS, Control


async def test_a_key_is_only_changed_as_it_was_seen_and_use_is_no_change(control: Control) -> None:
    made = await make(control)
    path = f"/api/v1/keys/{made['id']}"
    seen = {"If-Match": (await control.admin.get(path)).headers["ETag"]}
    ingest(control, [(made["id"], START_MS)])
    used = await control.admin.get(path)
    first = await control.admin.patch(path, json={"label": "one"}, headers=seen)
    second = await control.admin.patch(path, json={"label": "two"}, headers=seen)
    third = await rotate(control, made["id"], 0, headers=seen)
    fourth = await control.admin.post(path + "/revoke", headers=seen)

    assert used.json()["last_used_at"] is not None
    assert [a.status_code for a in (first, second, third, fourth)] == [200, 412, 412, 412]


def ingest(control: Control, uses: list[tuple[str, int]]) -> None:
    """Take in one batch of usage with a request for each (key, UNIX milliseconds)."""
    records = [
        UsageRecord(
            at_ms=at_ms, application="shop", key=key, model="risk", version=1, variant="stable",
            status=200, rows=1, queue_us=1, infer_us=1, total_us=1, bytes_in=1, bytes_out=1,
            prediction_id="p",
        )
        for key, at_ms in uses
    ]  # fmt: skip
    body = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    usage = control.services.usage.store
    segment = f"s{len(uses)}-{uses[-1][1]}"
    taken = usage.ingest("gateway", segment, 0, body)
    assert taken.records == len(uses)


async def test_the_last_use_is_learned_from_usage_at_most_once_a_minute(control: Control) -> None:
    first, second = await make(control), await make(control)

    async def last_used() -> list[str | None]:
        paths = [f"/api/v1/keys/{key['id']}" for key in (first, second)]
        return [(await control.admin.get(path)).json()["last_used_at"] for path in paths]

    assert await last_used() == [None, None]
    ingest(control, [(first["id"], START_MS), (first["id"], START_MS - 5), ("key-x", START_MS)])
    once = await last_used()
    ingest(control, [(first["id"], START_MS + 59_999), (second["id"], START_MS + 1)])
    same = await last_used()
    ingest(control, [(first["id"], START_MS + 60_000)])
    later = await last_used()
    ingest(control, [(first["id"], START_MS + 10)])

    assert once[1] is None
    assert datetime.fromisoformat(once[0] or "").timestamp() * 1000 == START_MS
    assert same[0] == once[0]
    assert same[1] is not None
    assert later[0] != once[0]
    assert await last_used() == later


async def test_a_batch_with_many_keys_is_one_statement(control: Control) -> None:
    made = [await make(control) for _ in range(3)]
    statements: list[str] = []

    def seen(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    sa.event.listen(control.services.database.engine, "before_cursor_execute", seen)
    ingest(control, [(key["id"], START_MS) for key in made])

    assert sum("UPDATE api_keys" in one for one in statements) == 1
