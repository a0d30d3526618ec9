"""The audit log over the management API: pages, filters, exports, its standing."""

import csv
import io
from pathlib import Path

import msgspec
import pytest

from control.audit.checkpoints import PUBLIC, public_keys
from control.audit.log import verify_file
from registry.store.audit import audit
from tests.control.accounts import make, session
from tests.control.running import Control


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'tollway.db'}"


async def fill(control: Control) -> None:
    for number in range(5):
        await control.admin.put(f"/api/v1/models/m-{number}", headers={"Tollway-Reason": "=1+1"})
        control.clock.advance(60)


async def test_pages_come_newest_first_and_miss_nothing(control: Control) -> None:
    await fill(control)
    seen: list[int] = []
    after: str | None = None
    while True:
        params = {"limit": "2"} | ({} if after is None else {"after": after})
        page = (await control.admin.get("/api/v1/audit", params=params)).json()
        seen += [item["seq"] for item in page["items"]]
        after = page["next"]
        if after is None:
            break

    assert seen == list(range(len(seen), 0, -1))
    assert len(seen) >= 5


@pytest.mark.parametrize(
    ("params", "keys"),
    [
        ({"kind": "model", "key": "m-3"}, ["m-3"]),
        ({"action": "model.created", "actor": "admin"}, ["m-4", "m-3", "m-2", "m-1", "m-0"]),
        ({"kind": "model", "actor": "nobody"}, []),
        ({"kind": "model", "from": "2027-01-15T08:03:00Z"}, ["m-4", "m-3"]),
        ({"kind": "model", "to": "2027-01-15T08:01:00Z"}, ["m-0"]),
    ],
)
async def test_filters_choose_entries(
    control: Control, params: dict[str, str], keys: list[str]
) -> None:
    await fill(control)
    found = (await control.admin.get("/api/v1/audit", params=params)).json()["items"]

    assert [item["key"] for item in found] == keys
    assert all(item["after"]["name"] == item["key"] for item in found)


async def test_filters_that_make_no_sense_are_refused(control: Control) -> None:
    for params in ({"from": "yesterday"}, {"limit": "0"}, {"after": "x"}, {"key": "k" * 256}):
        assert (await control.admin.get("/api/v1/audit", params=params)).status_code == 422


async def test_only_admins_and_auditors_read_the_log(control: Control) -> None:
    await make(control, "ann", "publisher")
    await make(control, "eve", "auditor")
    async with await session(control, "ann") as ann, await session(control, "eve") as eve:
        for path in ("audit", "audit/export", "audit/verify"):
            assert (await ann.get(f"/api/v1/{path}")).status_code == 403
            assert (await eve.get(f"/api/v1/{path}")).status_code == 200


async def test_an_export_verifies_by_itself(control: Control, tmp_path: Path) -> None:
    await fill(control)
    control.services.checkpoints.make_if_due()
    answer = await control.admin.get("/api/v1/audit/export")
    file = tmp_path / "archive.jsonl"
    file.write_bytes(answer.content)

    report = verify_file(file, public_keys(control.settings.audit_dir / PUBLIC))

    assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.jsonl"'
    assert report.ok
    assert report.checkpoints >= 1
    assert report.last == (await control.admin.get("/api/v1/audit")).json()["items"][0]["seq"]


async def test_a_choice_of_entries_is_exported_in_both_forms(control: Control) -> None:
    await fill(control)
    params = {"kind": "model"}
    lines = (await control.admin.get("/api/v1/audit/export", params=params)).text.splitlines()
    table = (
        await control.admin.get("/api/v1/audit/export", params={**params, "format": "csv"})
    ).text

    assert [msgspec.json.decode(line)["entry"]["key"] for line in lines] == [
        f"m-{number}" for number in range(5)
    ]
    rows = list(csv.DictReader(io.StringIO(table)))
    assert [row["key"] for row in rows] == [f"m-{number}" for number in range(5)]
    assert rows[0]["at"] == "2027-01-15T08:00:00.000Z"
    assert {row["reason"] for row in rows} == {"'=1+1"}  # no formula for a spreadsheet to run


async def test_the_standing_says_what_the_last_verification_found(control: Control) -> None:
    await fill(control)
    path = "/api/v1/audit/verify"
    before = (await control.admin.get(path)).json()
    control.services.checkpoints.make_if_due()
    control.services.audit.verify()
    sound = (await control.admin.get(path)).json()
    with control.services.database.write() as connection:
        # These tables were made from the metadata: their guards are the triggers.
        connection.exec_driver_sql("DROP TRIGGER audit_no_update")
        connection.execute(audit.update().where(audit.c.seq == 2).values(reason="edited"))
    control.services.audit.verify()
    damaged = (await control.admin.get(path)).json()

    assert (before["ok"], before["verified_at"]) == (None, None)
    assert (sound["ok"], sound["findings"]) == (True, [])
    assert sound["checkpoint"]["seq"] == sound["entries"]
    assert damaged["ok"] is False
    assert [one["seq"] for one in damaged["findings"]] == [2]
    newest = (await control.admin.get("/api/v1/audit")).json()["items"][0]
    assert newest["action"] == "audit.damaged"


async def test_the_metrics_say_how_the_log_stands(control: Control) -> None:
    control.services.checkpoints.make_if_due()
    control.services.audit.verify()
    control.services.metrics.audit(control.services.audit.standing())
    text = (await control.anonymous.get("/metrics")).text

    entries = (await control.admin.get("/api/v1/audit/verify")).json()["entries"]
    assert f"tollway_control_audit_entries {entries:.1f}" in text
    assert f"tollway_control_audit_checkpoint_entries {entries:.1f}" in text
    assert "tollway_control_audit_findings 0.0" in text
