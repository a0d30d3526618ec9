"""Who hears of a version's end, who still calls, and what may go."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

import tollway
from control.deprecations import due_notices
from control.store.callers import DAY_MS
from control.store.pin_rows import pins
from control.successor_answers import answers_of
from control.webhooks.events import AuditRow, event_of
from protocol.manifest import sha256_digest
from protocol.shadowing import Disagreements, Place, Tally
from tests.control.running import START_MS, Control, run
from tests.control.test_composition import MODEL, report
from tests.control.test_usage import lines, record
from tests.registry import models_onnx
from tollway import endings

PATH = "/api/v1/models/risk/versions/1"


async def published(control: Control, count: int = 2) -> None:
    """Versions of ``risk``, published."""
    await control.admin.put("/api/v1/models/risk")
    for number in range(1, count + 1):
        data = MODEL if number == 1 else models_onnx.linear(scale=number).SerializeToString()
        blob = {"digest": sha256_digest(data), "size": len(data)}
        begun = (await control.admin.post("/api/v1/blobs/uploads", json=blob)).json()
        upload = f"/api/v1/blobs/uploads/{begun['id']}"
        await control.admin.patch(upload, content=data, headers={"Upload-Offset": "0"})
        await control.admin.post(f"{upload}/complete")
        made = await control.admin.post("/api/v1/models/risk/versions", json={"artifact": blob})
        assert made.json()["number"] == number
        await report(control, number, "ready")
        control.clock.advance(1)
        for to in ("validated", "approved", "published"):
            path = f"/api/v1/models/risk/versions/{number}/transitions"
            done = await control.admin.post(path, json={"to": to})
            assert done.status_code == 200, done.text


async def called(control: Control, name: str, *applications: str, **fields: Any) -> None:
    """Each of the applications has called version 1 once, now."""
    records = [record(application=one, at_ms=control.clock(), **fields) for one in applications]
    for one in applications:
        await control.admin.put(f"/api/v1/consumers/of-{one}")
        await control.admin.put(f"/api/v1/applications/{one}", json={"consumer": f"of-{one}"})
    control.services.usage.store.ingest("g1", name, 0, lines(records))


def at(days: float) -> str:
    return datetime.fromtimestamp(START_MS / 1000 + days * 86_400, UTC).isoformat()


async def deprecated(control: Control, **body: Any) -> dict[str, Any]:
    done = await control.admin.put(f"{PATH}/deprecation", json=body)
    assert done.status_code == 200, done.text
    found: dict[str, Any] = done.json()
    return found


async def notices(control: Control) -> list[tuple[str, str]]:
    found = await control.admin.get("/api/v1/audit", params={"kind": "deprecation"})
    return [(entry["action"], entry["key"]) for entry in reversed(found.json()["items"])]


def run_job(control: Control) -> int:
    return control.services.transitions.job.run()


async def test_a_deprecation_is_shown_as_it_was_put(control: Control) -> None:
    await published(control)
    window = {"start": at(20), "end": at(20.1)}
    body = {"sunset": at(90), "successor": 2, "note": "why", "brownouts": [window]}

    put = await deprecated(control, **body)
    got = await control.admin.get(f"{PATH}/deprecation")
    stale = await control.admin.put(f"{PATH}/deprecation", json={}, headers={"If-Match": '"old"'})
    version = (await control.admin.get(PATH)).json()

    assert got.json() == put
    assert put["state"] == version["state"] == "deprecated"
    assert put["sunset"] == "2027-04-15T08:00:00.000Z"
    assert (put["successor"], put["note"], put["retire_at_sunset"]) == (2, "why", False)
    assert put["brownouts"] == [
        {"start": "2027-02-04T08:00:00.000Z", "end": "2027-02-04T10:24:00.000Z"}
    ]
    assert version["deprecation"] == {name: put[name] for name in version["deprecation"]}
    assert stale.status_code == 412


@pytest.mark.parametrize(
    "body",
    [
        {"sunset": "soon"},
        {"sunset": "2027-04-15T08:00:00"},
        {"sunset": "1969-01-01T00:00:00Z"},
        {"note": "x" * 2001},
        {"note": "\0"},
        {"brownouts": [{"start": at(1)}]},
        {"successor": 0},
        {"unknown": 1},
    ],
)
async def test_what_cannot_be_a_deprecation_is_refused(
    control: Control, body: dict[str, Any]
) -> None:
    await published(control, 1)
    answer = await control.admin.put(f"{PATH}/deprecation", json=body)
    assert answer.status_code == 422
    assert (await control.admin.get(f"{PATH}/deprecation")).status_code == 404


async def test_who_calls_is_told_once_when_a_version_is_deprecated_and_thrice_before_its_end(
    control: Control,
) -> None:
    await published(control)
    await called(control, "s1", "shop", "bank")
    await deprecated(control, sunset=at(90), successor=2)
    announced = [("deprecation.announced", f"{name}/risk/1") for name in ("bank", "shop")]

    assert run_job(control) == 2
    assert run_job(control) == 0
    assert sorted(await notices(control)) == announced

    for day, told in (
        (59, False),
        (61, True),
        (62, False),
        (84, True),
        (89.5, True),
        (89.9, False),
    ):
        control.clock.now_ms = START_MS + round(day * DAY_MS)
        await called(control, f"day-{day}", "shop")
        assert run_job(control) == (1 if told else 0), day
    near = ("deprecation.sunset_near", "shop/risk/1")
    assert sorted(await notices(control)) == sorted([*announced, near, near, near])


async def test_a_version_deprecated_late_is_announced_once(control: Control) -> None:
    await published(control)
    await called(control, "s1", "shop")
    await deprecated(control, sunset=at(5))

    assert run_job(control) == 1
    assert run_job(control) == 0
    control.clock.advance(3 * 86_400)
    assert run_job(control) == 0
    control.clock.advance(1.5 * 86_400)
    assert run_job(control) == 1


async def test_what_an_application_is_told_is_an_event_for_its_consumer(control: Control) -> None:
    await published(control)
    await called(control, "s1", "shop")
    await deprecated(control, sunset=at(5.5), successor=2, note="move")
    run_job(control)
    (entry,) = (await control.admin.get("/api/v1/audit", params={"kind": "deprecation"})).json()[
        "items"
    ]

    event = event_of(
        AuditRow(
            seq=1,
            at_ms=0,
            action=entry["action"],
            kind=entry["kind"],
            key=entry["key"],
            before=None,
            after=msgspec.json.encode(entry["after"]).decode(),
            hash="0" * 64,
        )
    )

    assert event is not None
    assert (event.application, event.consumer, event.model) == ("shop", "of-shop", "risk")
    told = msgspec.json.decode(event.body)["data"]["after"]
    assert (told["days_left"], told["successor"], told["note"], told["requests"]) == (
        5, 2, "move", 1,
    )  # fmt: skip


async def test_a_version_is_retired_at_its_sunset_once_no_label_leads_to_it(
    control: Control,
) -> None:
    await published(control)
    await report(control, 1, "ready")
    led = await control.admin.put("/api/v1/models/risk/rollout", json={"stable": 1})
    assert led.status_code == 200, led.text
    await deprecated(control, sunset=at(5), successor=2, retire_at_sunset=True)
    control.clock.advance(5 * 86_400)

    held = [run_job(control), run_job(control)]
    entries = await control.admin.get("/api/v1/audit", params={"action": "version.retirement_held"})
    await report(control, 2, "ready")
    moved = await control.admin.put("/api/v1/models/risk/rollout", json={"stable": 2})
    assert moved.status_code == 200, moved.text
    done = run_job(control)

    assert (held, done) == ([0, 0], 1)
    (entry,) = entries.json()["items"]
    assert "alias 'stable'" in entry["reason"]
    ending = (await control.admin.get(f"{PATH}/deprecation")).json()
    assert (ending["state"], ending["held_by"]) == ("retired", [])
    steps = (await control.admin.get(f"{PATH}/transitions")).json()["items"]
    assert (steps[-1]["actor"], steps[-1]["reason"]) == ("system", "its sunset has come")


async def test_who_still_calls_is_reported_with_way_and_trend(control: Control) -> None:
    await published(control)
    control.clock.now_ms = START_MS - 10 * DAY_MS
    await called(control, "old", "shop", "bank", "quiet")
    control.clock.now_ms = START_MS
    await called(control, "new", "shop", "shop", "shop", "fresh", variant="pinned", status=410)
    await deprecated(control, sunset=at(30.5), successor=2)
    with control.services.database.write() as connection:
        for application, version in (("shop", 1), ("bank", 2)):
            connection.execute(
                sa.insert(pins).values(
                    application=application, model="risk", version=version,
                    set_by="publisher", reason="", created_ms=START_MS, updated_ms=START_MS,
                )
            )  # fmt: skip
    await control.admin.delete("/api/v1/applications/quiet")

    found = (await control.admin.get(f"{PATH}/transition-report")).json()

    assert (found["requests"], found["days_left"], found["successor"]) == (7, 30, 2)
    callers = {caller["application"]: caller for caller in found["callers"]}
    shop = callers["shop"]
    assert list(callers) == ["shop", "bank", "fresh", "quiet"]
    assert (shop["consumer"], shop["requests"], shop["errors"]) == ("of-shop", 4, 3)
    assert (shop["ways"], shop["pinned"]) == ({"stable": 1, "pinned": 3}, True)
    assert callers["bank"]["pinned"] is False
    assert (shop["first_call_at"][:10], shop["last_call_at"]) == (
        "2027-01-05", "2027-01-15T08:00:00.000Z",
    )  # fmt: skip
    assert {name: one["trend"] for name, one in callers.items()} == {
        "shop": "rising", "bank": "stopped", "fresh": "new", "quiet": "stopped",
    }  # fmt: skip
    assert (callers["quiet"]["ended"], callers["quiet"]["consumer"]) == (True, "of-quiet")
    assert (shop["answers"]["basis"], shop["answers"]["reason"]) == (
        "unknown", "unknown: no shadow, no captures",
    )  # fmt: skip


def test_classes_are_what_other_answers_are_and_numbers_where_there_are_none() -> None:
    classes = answers_of(Tally(labelled=10, flips=3, measured=10, equal=0))
    numbers = answers_of(Tally(measured=8, equal=6, largest=0.5, failures={"failed": 2}))
    nothing = answers_of(Tally(failures={"unlike": 1}))

    assert (classes.compared, classes.different, classes.share) == (10, 3, 0.3)
    assert (numbers.compared, numbers.different, numbers.share) == (8, 2, 0.25)
    assert numbers.reason == (
        "rows with another number, by at most 0.5; 2 requests could not be compared"
    )
    assert nothing.share is None


async def test_the_successors_answers_are_known_where_it_was_a_shadow(control: Control) -> None:
    await published(control)
    await called(control, "s1", "shop", "bank")
    await deprecated(control, successor=2)
    place = Place(control.clock() // 60_000, 1, "shop", "")
    tallies = [(place, Tally(requests=4, rows=4, labelled=4, flips=1))]
    control.services.disagreements.take(
        Disagreements(instance="e1", sequence=1, model="risk", version=2, tallies=tallies)
    )

    found = (await control.admin.get(f"{PATH}/transition-report")).json()["callers"]

    answers = {caller["application"]: caller["answers"] for caller in found}
    assert (answers["shop"]["basis"], answers["shop"]["share"]) == ("shadow", 0.25)
    assert answers["bank"]["basis"] == "unknown"


async def test_callers_are_listed_page_by_page_the_busiest_first(
    control: Control, environment: None
) -> None:
    await published(control, 1)
    await called(control, "s1", "shop", "bank", "desk", "shop")
    path = f"{PATH}/transition-report"

    first = (await control.admin.get(path, params={"limit": 2})).json()
    rest = (await control.admin.get(path, params={"limit": 2, "after": first["next"]})).json()
    other = await control.admin.get(path, params={"days": 7, "after": first["next"]})

    def taken(limit: int) -> tuple[list[str], str | None]:
        with tollway.Client() as client:
            report = client.transition_report("risk", 1, limit=limit)
        assert (report.requests, report.applications) == (4, 3)
        return [caller.application for caller in report.callers], report.next

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(endings, "_PAGE", 2)
        all_of_them = await asyncio.to_thread(taken, 10)
        some = await asyncio.to_thread(taken, 2)

    pages = [[caller["application"] for caller in page["callers"]] for page in (first, rest)]
    assert pages == [["shop", "bank"], ["desk"]]
    assert [(page["requests"], page["applications"]) for page in (first, rest)] == [(4, 3)] * 2
    assert rest["next"] is None
    assert (other.status_code, "query.after" in other.text) == (422, True)
    assert all_of_them == (["shop", "bank", "desk"], None)
    assert some[0] == ["shop", "bank"]
    assert some[1] is not None


async def test_a_report_on_what_does_not_exist_is_not_found(control: Control) -> None:
    assert (await control.admin.get(f"{PATH}/transition-report")).status_code == 404
    missing = await control.admin.get("/api/v1/models/nothing/retirement-report")
    assert missing.status_code == 404


@given(st.integers(0, 100 * DAY_MS), st.integers(0, 100))
def test_notices_that_are_due_only_become_more_until_the_sunset(now: int, days: int) -> None:
    sunset = 100 * 86_400
    before = set(due_notices(sunset, now))
    after = set(due_notices(sunset, min(now + days * DAY_MS, sunset * 1000 - 1)))
    assert before <= after or now >= sunset * 1000


async def test_the_command_line_deprecates_reports_and_retires(
    control: Control,
    environment: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await published(control)
    await called(control, "s1", "shop")
    sunset, start, end = at(40), at(20), at(20.5)

    async def tollway(*words: str) -> str:
        assert await asyncio.to_thread(run, monkeypatch, *words) == 0
        return capsys.readouterr().out

    said = await tollway(
        "deprecate", "risk", "1", "--sunset", sunset, "--successor", "2", "--note", "move on",
        "--brownout", f"{start}/{end}", "--retire-at-sunset", "--reason", "weil es Zeit ist, ü",
        "--json",
    )  # fmt: skip
    report_text = await tollway("transition-report", "risk", "1")
    report_json = await tollway("transition-report", "risk", "1", "--limit", "1", "--json")
    weighed_text = await tollway("retirement-report", "risk")
    retired = await tollway("retire", "risk", "1")

    ending = msgspec.json.decode(said)["deprecation"]
    assert (ending["successor"], ending["note"]) == (2, "move on")
    assert len(ending["brownouts"]) == 1
    assert "shop\tof-shop\t1\tstable 1" in report_text
    assert msgspec.json.decode(report_json)["callers"][0]["application"] == "shop"
    assert "keep\tit is still called (1 times) by 1 application" in weighed_text
    assert "is retired" in retired
