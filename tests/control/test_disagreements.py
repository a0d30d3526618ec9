"""What engines have compared: counted once, kept by hour, reported to the model's own people."""

from typing import Any

import msgspec
import pytest

from control.store import disagreements as module
from control.store.disagreements import DisagreementStore, PairedCounts
from protocol.keys import generate
from protocol.shadowing import Disagreements, Example, Place, Tally
from protocol.sketch import bucket
from registry.store.database import Database
from tests.control.running import START_MS, Control, FakeClock, connect
from tests.control.tenants import user
from tests.control.test_composition import register

MODEL = "risk"
MINUTE = START_MS // 60_000
HOUR_MS = 3_600_000
PATH = f"/api/v1/models/{MODEL}/shadows/1/report"


def tally(**fields: Any) -> Tally:
    values: dict[str, Any] = {
        "requests": 4,
        "failures": {"refused": 1},
        "rows": 6,
        "labelled": 6,
        "flips": 2,
        "pairs": {"good": {"bad": 2}},
        "measured": 5,
        "equal": 3,
        "missing": 1,
        "shift": -0.5,
        "shift_squares": 0.25,
        "labelled_requests": 3,
        "flip_shares": 0.75,
        "measured_requests": 2,
        "request_shifts": -0.25,
        "request_shift_squares": 0.125,
        "largest": 0.25,
        "differences": {0: 3, bucket(0.25): 2},
    }
    return Tally(**{**values, **fields})


def summary(
    sequence: int,
    *tallies: tuple[Place, Tally],
    instance: str = "e1",
    examples: tuple[Example, ...] = (),
) -> Disagreements:
    return Disagreements(
        instance=instance,
        sequence=sequence,
        model=MODEL,
        version=1,
        tallies=list(tallies),
        examples=list(examples),
    )


def place(
    minute: int = MINUTE, against: int = 2, application: str = "shop", segment: str = ""
) -> Place:
    return Place(minute, against, application, segment)


def example(number: int, **fields: Any) -> Example:
    values: dict[str, Any] = {
        "at_ms": START_MS,
        "against": 2,
        "application": "shop",
        "prediction_id": f"p-{number}",
        "row": 0,
        "flipped": False,
        "difference": float(number),
        "inputs": {"age": 30.0, "city": None},
        "answered": {"label": "good"},
        "shadow": {"label": "bad"},
    }
    return Example(**{**values, **fields})


@pytest.fixture
def store(database: Database, clock: FakeClock) -> DisagreementStore:
    return DisagreementStore(database, clock, kept_days=30)


def test_a_summary_that_comes_again_is_counted_once(store: DisagreementStore) -> None:
    first, second = summary(1, (place(), tally())), summary(2, (place(), tally()))
    assert [store.take(one) for one in (first, first, second, first, second)] == [
        True, False, True, False, False,
    ]  # fmt: skip
    assert store.take(summary(1, (place(), tally()), instance="e2"))
    assert store.since(MODEL, 1, 2, 0) == PairedCounts(
        requests=12, failed=3, rows=18, labelled=18, flips=6, measured=15, missing=3,
        shift=-1.5, shift_squares=0.75, labelled_requests=9, flip_shares=2.25,
        measured_requests=6, request_shifts=-0.75, request_shift_squares=0.375, largest=0.25,
    )  # fmt: skip


def test_sums_by_hour_are_those_of_all_summaries(store: DisagreementStore) -> None:
    for sequence in (1, 2):
        store.take(
            summary(
                sequence,
                (place(), tally()),
                (place(segment="young"), tally(requests=0, failures={})),
                (place(application="bank"), tally(flips=1, pairs={"good": {"bad": 1}})),
                (place(MINUTE - 60), tally(largest=9.0)),
            )
        )
    hour = START_MS // HOUR_MS
    found = store.tallies(MODEL, 1, hour, hour + 1)
    assert set(found) == {(2, "shop", ""), (2, "shop", "young"), (2, "bank", "")}
    assert found[2, "shop", ""] == tally(
        requests=8, failures={"refused": 2}, rows=12, labelled=12, flips=4,
        pairs={"good": {"bad": 4}}, measured=10, equal=6, missing=2, shift=-1.0,
        shift_squares=0.5, labelled_requests=6, flip_shares=1.5, measured_requests=4,
        request_shifts=-0.5, request_shift_squares=0.25, differences={0: 6, bucket(0.25): 4},
    )  # fmt: skip
    assert store.tallies(MODEL, 1, hour - 1, hour + 1)[2, "shop", ""].largest == 9.0
    assert store.tallies(MODEL, 2, hour - 1, hour + 1) == {}
    for start, end in ((hour, hour + 1), (hour - 1, hour + 1), (hour - 1, hour), (0, 1)):
        everybody = store.tallies(MODEL, 1, start, end)
        for named in (["shop"], ["bank", "nobody"], []):
            assert store.tallies(MODEL, 1, start, end, 2, named) == {
                place: sums for place, sums in everybody.items() if place[1] in named
            }
            assert store.tallies(MODEL, 1, start, end, 3, named) == {}


def test_counts_since_a_moment_have_nothing_from_before_it(
    store: DisagreementStore, clock: FakeClock
) -> None:
    clock.advance(600)
    store.take(summary(1, *((place(MINUTE + n), tally(requests=10**n)) for n in range(4))))
    assert store.since(MODEL, 1, 2, START_MS).requests == 1111
    assert store.since(MODEL, 1, 2, START_MS + 59_999).requests == 1111
    assert store.since(MODEL, 1, 2, START_MS + 120_000).requests == 1100
    assert store.since(MODEL, 1, 2, START_MS + 240_000) == PairedCounts()
    assert store.since(MODEL, 1, 3, 0) == PairedCounts()


def test_segments_add_nothing_to_the_counts(store: DisagreementStore) -> None:
    store.take(summary(1, (place(), tally()), (place(segment="young"), tally())))
    assert store.since(MODEL, 1, 2, 0).rows == 6


def test_an_engine_whose_clock_is_ahead_does_not_write_into_the_future(
    store: DisagreementStore,
) -> None:
    store.take(summary(1, (place(MINUTE + 500), tally())))
    hour = START_MS // HOUR_MS
    assert set(store.tallies(MODEL, 1, hour, hour + 1)) == {(2, "shop", "")}
    assert store.since(MODEL, 1, 2, START_MS + 60_000) == PairedCounts()


def test_of_an_hour_the_examples_that_differ_most_are_kept(
    store: DisagreementStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXAMPLES_AN_HOUR", 3)
    store.take(summary(1, (place(), tally()), examples=tuple(example(n) for n in (1, 5, 2))))
    flipped = example(0, flipped=True)
    store.take(summary(2, (place(), tally()), examples=(example(4), flipped)))
    hour = START_MS // HOUR_MS
    found = store.examples(MODEL, 1, hour, hour + 1, 10)
    assert found == [flipped, example(5), example(4)]
    assert store.examples(MODEL, 1, hour, hour + 1, 1) == [flipped]


def test_what_is_older_than_it_is_kept_goes(store: DisagreementStore, clock: FakeClock) -> None:
    store.take(summary(1, (place(), tally()), examples=(example(1),)))
    clock.advance(29 * 86_400)
    assert store.retain() == 0
    clock.advance(2 * 86_400)
    assert store.retain() == 4
    assert store.since(MODEL, 1, 2, 0) == PairedCounts()
    assert store.retain() == 0


def test_an_example_that_holds_a_credential_is_not_kept(store: DisagreementStore) -> None:
    secret = generate("live")
    held = example(5, inputs={"note": f"my key is {secret}"})
    store.take(summary(1, (place(), tally()), examples=(held, example(1))))
    hour = START_MS // HOUR_MS
    assert store.examples(MODEL, 1, hour, hour + 1, 10) == [example(1)]


def test_examples_beside_a_version_are_found_however_many_of_others_differ_more(
    store: DisagreementStore,
) -> None:
    hour = START_MS // HOUR_MS
    others = tuple(example(n, flipped=True, against=3) for n in range(10))
    wanted = (example(1), example(2, application="bank"))
    store.take(summary(1, (place(), tally()), examples=(*others, *wanted)))
    assert store.read_examples(MODEL, 1, hour, hour + 1, 5, against=2) == [wanted[1], wanted[0]]
    assert store.read_examples(MODEL, 1, hour, hour + 1, 5, "shop", 2) == [wanted[0]]
    assert store.read_examples(MODEL, 1, hour, hour + 1, 5, against=1) == []


def test_examples_are_forgotten_by_application(store: DisagreementStore) -> None:
    others = example(2, application="bank")
    store.take(summary(1, (place(), tally()), examples=(example(1), others)))
    hour = START_MS // HOUR_MS
    assert store.forget_examples(MODEL, "shop") == 1
    assert store.examples(MODEL, 1, hour, hour + 1, 10) == [others]
    assert store.forget_examples(MODEL) == 1
    assert store.since(MODEL, 1, 2, 0).requests == 4


# over HTTP


async def send(control: Control, found: Disagreements) -> None:
    answer = await control.cluster.post(
        "/internal/v1/disagreements", content=msgspec.msgpack.encode(found)
    )
    assert answer.status_code == 204, answer.text


async def reported(control: Control, **query: str) -> dict[str, Any]:
    answer = await control.admin.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_report_sums_what_was_found(control: Control) -> None:
    await register(control.admin)
    await send(
        control,
        summary(
            1,
            (place(), tally()),
            (place(application="bank"), tally(flips=0, pairs={}, labelled=2)),
            (place(segment="young"), tally(requests=0, failures={})),
            examples=(example(3),),
        ),
    )
    found = await reported(control)
    assert (found["model"], found["version"]) == (MODEL, 1)
    [item] = found["items"]
    assert item["application"] is None
    assert (item["against"], item["requests"], item["failures"]) == (2, 8, {"refused": 2})
    assert (item["classified"], item["flips"], item["flip_share"]) == (8, 2, 0.25)
    assert item["pairs"] == [{"answered": "good", "shadow": "bad", "rows": 2}]
    assert (item["measured"], item["equal"], item["mean_shift"]) == (10, 6, -0.1)
    assert item["shift_deviation"] == pytest.approx((0.4 / 9) ** 0.5)
    assert item["p50"] == 0.0
    assert item["p99"] == pytest.approx(0.25, rel=0.01)
    assert item["largest"] == 0.25
    [row] = found["examples"]
    assert (row["prediction_id"], row["inputs"]) == ("p-3", {"age": 30.0, "city": None})

    by_application = (await reported(control, by="application"))["items"]
    assert [(i["application"], i["flips"]) for i in by_application] == [("bank", 0), ("shop", 2)]
    by_segment = (await reported(control, by="segment"))["items"]
    assert [(i["segment"], i["rows"]) for i in by_segment] == [("", 12), ("young", 6)]
    both = (await reported(control, by="segment,application"))["items"]
    assert len(both) == 3


async def test_examples_end_when_the_models_captures_do(control: Control) -> None:
    await register(control.admin)
    await send(control, summary(1, (place(), tally()), examples=(example(3),)))
    kept = await control.admin.put(f"/api/v1/models/{MODEL}", json={"capture_days": 2})
    assert kept.status_code == 200, kept.text
    store = control.services.disagreements
    assert store.retain() == 0
    control.clock.advance(3 * 86_400)
    assert store.retain() == 1
    assert store.since(MODEL, 1, 2, 0).requests == 4


async def test_who_removes_captures_removes_examples(control: Control) -> None:
    await register(control.admin)
    await send(control, summary(1, (place(), tally()), examples=(example(3),)))
    answer = await control.admin.delete(f"/api/v1/models/{MODEL}/captures")
    assert answer.status_code == 200, answer.text
    assert (await reported(control))["examples"] == []


async def test_examples_of_before_a_removal_are_not_kept_when_they_come_after_it(
    control: Control,
) -> None:
    await register(control.admin)
    control.clock.advance(60)
    await control.admin.delete(f"/api/v1/models/{MODEL}/captures?application=shop")
    late, others = example(1), example(2, application="bank")
    fresh = example(3, at_ms=START_MS + 61_000)
    await send(control, summary(1, (place(), tally()), examples=(late, others, fresh)))
    found = await reported(control)
    assert [one["prediction_id"] for one in found["examples"]] == ["p-3", "p-2"]
    assert found["items"][0]["requests"] == 4


async def test_example_rows_are_read_by_those_who_read_captures_and_every_reading_is_audited(
    control: Control,
) -> None:
    await register(control.admin)
    await send(control, summary(1, (place(), tally()), examples=(example(3), example(4))))
    for name, role in (("sam", "sponsor"), ("pia", "publisher"), ("aude", "auditor")):
        client, _ = await user(control, name, role)
        async with client:
            if role != "auditor":
                granted = await control.admin.put(f"/api/v1/models/{MODEL}/grants/{name}")
                assert granted.status_code == 201, granted.text
            answer = await client.get(PATH)
            assert answer.status_code == 200, answer.text
            assert len(answer.json()["items"]) == 1
            assert len(answer.json()["examples"]) == (2 if role == "publisher" else 0)
            assert (await client.get(PATH, params={"examples": 0})).json()["examples"] == []
    entries = (await control.admin.get("/api/v1/audit?action=capture.read")).json()["items"]
    assert sorted((one["kind"], one["key"], one["actor"]) for one in entries) == [
        ("capture", "p-3", "pia"),
        ("capture", "p-4", "pia"),
    ]


async def test_a_report_of_another_span_has_nothing_of_it(control: Control) -> None:
    await register(control.admin)
    await send(control, summary(1, (place(), tally())))
    control.clock.advance(48 * 3600)
    assert (await reported(control))["items"] == []
    found = await reported(
        control, **{"from": "2027-01-15T00:00:00Z", "to": "2027-01-16T00:00:00Z"}
    )
    assert len(found["items"]) == 1


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"by": "key"}, 422),
        ({"from": "2027-01-16T00:00:00Z", "to": "2027-01-15T00:00:00Z"}, 422),
        ({"examples": "1000"}, 422),
        ({"from": "1969-01-01T00:00:00Z"}, 422),
    ],
)
async def test_a_report_that_cannot_be_asked_for_is_refused(
    control: Control, query: dict[str, str], status: int
) -> None:
    await register(control.admin)
    assert (await control.admin.get(PATH, params=query)).status_code == status


async def test_a_report_may_end_with_the_last_year_that_can_be_written(control: Control) -> None:
    await register(control.admin)
    answer = await control.admin.get(PATH, params={"to": "9999-12-31T23:59:59Z"})
    assert (answer.status_code, answer.json()["end"]) == (200, "9999-12-31T23:00:00.000Z")


async def test_a_version_that_there_is_not_has_no_report(control: Control) -> None:
    await register(control.admin)
    assert (await control.admin.get(PATH.replace("/1/", "/9/"))).status_code == 404


async def test_what_is_no_summary_is_refused(control: Control) -> None:
    answer = await control.cluster.post("/internal/v1/disagreements", content=b"\x01")
    assert answer.status_code == 400
    async with connect(control.app, "wrong") as stranger:
        answer = await stranger.post("/internal/v1/disagreements", content=b"\x01")
    assert answer.status_code == 401
