"""Versions that end: what may be said of it, what follows, and how long their bytes stay."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.configuration import BrownoutDoc, Change, DeprecationDoc, VersionDoc
from protocol.errors import Code, TollwayError
from registry.deprecation import check_takes_pins
from registry.deprecation_rules import MAX_BROWNOUT_S, at_retirement, checked
from registry.store import changes
from registry.store.versions import VersionRecord
from tests.registry import models_onnx
from tests.registry.conftest import Bench

NOW = 1_000_000
DAY = 86_400


def wish(**fields: Any) -> DeprecationDoc:
    return DeprecationDoc(**{"since": NOW, **fields})


def published(bench: Bench, count: int = 1) -> list[VersionRecord]:
    found = [
        bench.publish(data=models_onnx.linear(scale=1.0 + n).SerializeToString())
        for n in range(count)
    ]
    return [bench.to_state(version, "published") for version in found]


def put(bench: Bench, number: int, **fields: Any) -> VersionRecord:
    wished = wish(**{"since": 0, **fields})
    return bench.registry.deprecations.put("credit", number, wished, actor="ann", since_given=False)


def stream(bench: Bench) -> dict[str, VersionDoc]:
    with bench.registry.database.read() as connection:
        rows: list[Change] = changes.read(connection, "", 0).changes
    return {
        row.key: msgspec.json.decode(row.doc, type=VersionDoc)
        for row in rows
        if row.kind == "version"
    }


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"successor": 1}, "does not succeed itself"),
        ({"brownouts": (BrownoutDoc(start=NOW, end=NOW + 5),)}, "go with a sunset"),
        ({"retire_at_sunset": True}, "go with a sunset"),
        ({"sunset": NOW - 1}, "before 'since'"),
        ({"since": NOW - 9, "sunset": NOW}, "has passed"),
        ({"sunset": NOW + 9, "brownouts": (BrownoutDoc(start=5, end=5),)}, "ends before it begins"),
        ({"sunset": NOW + 9, "brownouts": (BrownoutDoc(start=0, end=NOW),)}, "longer than 7 days"),
        ({"sunset": NOW + 9, "brownouts": (BrownoutDoc(start=NOW, end=NOW + 10),)}, "the sunset"),
        (
            {
                "sunset": NOW + 9,
                "brownouts": (
                    BrownoutDoc(start=NOW, end=NOW + 5),
                    BrownoutDoc(start=NOW, end=NOW + 3),
                ),
            },
            "before the one before it ends",
        ),
        (
            {
                "sunset": NOW + 999,
                "brownouts": tuple(BrownoutDoc(start=NOW + n, end=NOW + n + 1) for n in range(101)),
            },
            "at most 100",
        ),
    ],
)
def test_a_deprecation_that_makes_no_sense_is_refused(fields: dict[str, Any], what: str) -> None:
    with pytest.raises(TollwayError, match=what) as raised:
        checked(wish(**fields), None, 1, NOW)
    assert raised.value.code is Code.INVALID


def test_a_sunset_that_has_passed_meanwhile_may_stay() -> None:
    present = wish(since=NOW - 9, sunset=NOW - 1)
    changed = msgspec.structs.replace(present, note="soon")
    assert checked(changed, present, 1, NOW) == changed


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, MAX_BROWNOUT_S)), max_size=20),
    st.randoms(),
)
def test_windows_are_kept_by_time_whatever_their_order(
    spans: list[tuple[int, int]], random: Any
) -> None:
    windows, at = [], NOW
    for gap, length in spans:
        windows.append(BrownoutDoc(start=at + gap, end=at + gap + length))
        at += gap + length
    shuffled = list(windows)
    random.shuffle(shuffled)
    found = checked(wish(sunset=at + 1, brownouts=tuple(shuffled)), None, 1, NOW)
    assert found.brownouts == tuple(windows)


@given(st.integers(0, NOW + 50), st.none() | st.integers(0, NOW * 2))
def test_a_retired_version_has_a_sunset_that_is_not_in_the_future(
    since: int, sunset: int | None
) -> None:
    found = at_retirement(DeprecationDoc(since=since, sunset=sunset), NOW)
    assert found.sunset is not None
    assert found.since <= found.sunset <= NOW


def test_deprecating_tells_the_gateways_everything(bench: Bench) -> None:
    one, two = published(bench, 2)
    now = bench.clock() // 1000
    window = BrownoutDoc(start=now + DAY, end=now + DAY + 600)

    changed = put(
        bench,
        one.number,
        sunset=now + 90 * DAY,
        successor=two.number,
        note="n",
        brownouts=(window,),
    )

    said = DeprecationDoc(
        since=now, sunset=now + 90 * DAY, successor=2, note="n", brownouts=(window,)
    )
    assert (changed.state, changed.loaded, changed.deprecation) == ("deprecated", True, said)
    document = stream(bench)["credit/1"]
    assert (document.state, document.deprecation) == ("deprecated", said)
    assert stream(bench)["credit/2"].deprecation is None
    assert [step.to_state for step in bench.registry.versions.history("credit", 1, 0, 10)][-1] == (
        "deprecated"
    )


def test_the_same_again_changes_nothing_and_a_change_keeps_the_beginning(bench: Bench) -> None:
    published(bench)
    first = put(bench, 1)
    bench.clock.advance(DAY)

    again = put(bench, 1)
    later = put(bench, 1, note="moved", sunset=bench.clock() // 1000 + DAY)

    assert again == first
    assert later.deprecation is not None
    assert first.deprecation is not None
    assert later.deprecation.since == first.deprecation.since
    assert len(bench.registry.versions.history("credit", 1, 0, 10)) == 5


def test_a_change_on_another_state_than_expected_is_refused(bench: Bench) -> None:
    published(bench)
    with pytest.raises(TollwayError) as raised:
        bench.registry.deprecations.put("credit", 1, wish(), actor="ann", expected="other")
    assert raised.value.code is Code.PRECONDITION_FAILED


def test_a_version_that_is_not_published_cannot_be_deprecated(bench: Bench) -> None:
    bench.publish()
    with pytest.raises(TollwayError) as raised:
        put(bench, 1)
    assert raised.value.code is Code.ILLEGAL_TRANSITION


def test_a_successor_must_be_a_published_version(bench: Bench) -> None:
    published(bench, 2)
    bench.publish(data=models_onnx.linear(scale=9.0).SerializeToString())
    for successor, code in ((3, Code.CONFLICT), (9, Code.VERSION_NOT_FOUND)):
        with pytest.raises(TollwayError) as raised:
            put(bench, 1, successor=successor)
        assert raised.value.code is code


def test_a_plain_transition_deprecates_from_now_on(bench: Bench) -> None:
    (one,) = published(bench)
    changed = bench.to_state_after(one, "deprecated")
    assert changed.deprecation == DeprecationDoc(since=bench.clock() // 1000)


def test_who_was_sent_to_a_retired_version_is_sent_on(bench: Bench) -> None:
    published(bench, 3)
    put(bench, 1, successor=2)
    put(bench, 2, successor=3)
    bench.registry.lifecycle.transition("credit", 2, "retired", actor="ann")

    found = stream(bench)
    assert found["credit/1"].deprecation is not None
    assert found["credit/1"].deprecation.successor == 3
    assert found["credit/2"].loaded is False


def test_no_new_pins_to_a_version_that_ends(bench: Bench) -> None:
    one, _ = published(bench, 2)
    check_takes_pins(one)
    with pytest.raises(TollwayError, match="pin its successor, version 2") as raised:
        check_takes_pins(put(bench, 1, successor=2))
    assert raised.value.code is Code.CONFLICT


def test_how_far_an_end_has_come_is_told(bench: Bench) -> None:
    published(bench, 2)
    deprecations = bench.registry.deprecations
    with pytest.raises(TollwayError) as raised:
        deprecations.get("credit", 1)
    bench.registry.aliases.set("credit", "stable", 1, actor="ann", expected=None)
    put(bench, 1)

    held = deprecations.get("credit", 1)
    bench.registry.aliases.set("credit", "stable", 2, actor="ann", expected=None)
    bench.registry.lifecycle.transition("credit", 1, "retired", actor="ann")
    gone = deprecations.get("credit", 1)

    assert raised.value.code is Code.NOT_FOUND
    assert (held.held_by, held.retired_at, held.artifact_kept_until) == (
        ["alias 'stable'"],
        None,
        None,
    )
    assert gone.retired_at == bench.clock()
    assert gone.artifact_kept_until == bench.clock() + 365 * DAY * 1000


def test_the_artifact_of_a_retired_version_goes_after_its_retention(bench: Bench) -> None:
    one, two = published(bench, 2)
    shared = bench.to_state(
        bench.publish(data=models_onnx.linear(scale=2.0).SerializeToString()), "published"
    )
    collector = bench.registry.collector
    for version in (one, two):
        bench.to_state_after(bench.to_state_after(version, "deprecated"), "retired")
    assert one.manifest.artifact is not None
    assert two.manifest.artifact is not None
    assert shared.manifest.artifact is not None
    gone, kept = one.manifest.artifact.digest, shared.manifest.artifact.digest
    assert kept == two.manifest.artifact.digest

    bench.clock.advance(364 * DAY)
    early = collector.collect()
    still_there = bench.store.size(gone)
    bench.clock.advance(2 * DAY)
    due = collector.collect()
    bench.clock.advance(2 * 3600)
    swept = collector.collect()

    assert (early.released, early.marked, still_there is not None) == (0, 0, True)
    assert (due.released, due.marked) == (2, 1)
    assert (swept.released, swept.swept) == (0, 1)
    assert bench.store.size(gone) is None
    assert bench.store.size(kept) is not None
    assert bench.registry.versions.get("credit", 1).manifest == one.manifest
