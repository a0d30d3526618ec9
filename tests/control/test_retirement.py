"""What says whether a version should be kept, deprecated or retired."""

from typing import Any

import pytest

from control.retirement_rules import Quality, Weighed, advise
from protocol.configuration import EngineDoc, WorkerDoc
from protocol.figures import EngineFigures, WorkerFigures
from tests.control.running import Control
from tests.control.test_composition import MODEL, report
from tests.control.test_deprecations import at, called, deprecated, published


async def test_versions_are_weighed_by_traffic_labels_and_cost(control: Control) -> None:
    await published(control, 3)
    await report(control, 3, "ready")
    await control.admin.put("/api/v1/models/risk/rollout", json={"stable": 3})
    control.clock.advance(40 * 86_400)
    await called(control, "s1", "shop")
    await deprecated(control, sunset=at(90))

    found = (await control.admin.get("/api/v1/models/risk/retirement-report")).json()

    one, two, three = found["versions"]
    assert [v["recommendation"] for v in found["versions"]] == ["keep", "deprecate", "keep"]
    assert one["reason"] == (
        "it is still called (1 times) by 1 application; its sunset is in 49 days"
    )
    assert (one["traffic"]["callers"], one["cost"]["artifact_bytes"]) == (1, len(MODEL))
    assert one["cost"]["compute_ms"] == 0.1
    assert [v["cost"]["memory_bytes"] for v in found["versions"]] == [None, None, None]
    assert two["reason"] == "nobody has called it for 30 days"
    assert three["reason"] == "the label 'stable' leads its traffic here"


async def test_what_engines_hold_in_memory_is_on_the_scales(control: Control) -> None:
    await published(control)
    control.clock.advance(40 * 86_400)
    for worker, held in (("w1", (200_000_000, None)), ("w2", (100_000_000,))):
        engines = [
            EngineDoc(model="risk", version=1, slot=slot, address="", state="ready")
            for slot in range(len(held))
        ]
        document = WorkerDoc(id=worker, engines=tuple(engines))
        figures = WorkerFigures(
            id=worker,
            software="1",
            cores=2,
            engines=(
                *(
                    EngineFigures(model="risk", version=1, slot=slot, memory_bytes=memory)
                    for slot, memory in enumerate(held)
                ),
                EngineFigures(model="other", version=1, slot=9, memory_bytes=7),
            ),
        )
        control.services.workers.report(document)
        control.services.workers.take_figures(figures)

    found = (await control.admin.get("/api/v1/models/risk/retirement-report")).json()

    one, two = found["versions"]
    assert one["cost"]["memory_bytes"] == 300_000_000
    assert two["cost"]["memory_bytes"] is None
    assert one["reason"] == (
        "nobody has called it for 30 days, and it holds 3 engines with 300 MB of memory"
    )


def weighed(**fields: Any) -> Weighed:
    facts: dict[str, Any] = {
        "number": 1, "state": "published", "age_days": 90, "aliases": (), "quality": None,
        "requests": 10, "callers": 2, "engines": 1,
    }  # fmt: skip
    return Weighed(**(facts | fields))


def quality(value: float, low: float | None = None, high: float | None = None) -> Quality:
    return Quality(metric="accuracy", value=value, low=low, high=high, smaller_is_better=False)


@pytest.mark.parametrize(
    ("version", "others", "advice"),
    [
        (weighed(state="deprecated", requests=0), [], "retire"),
        (weighed(state="deprecated"), [], "keep"),
        (weighed(state="deprecated", sunset_days=-1), [], "retire"),
        (weighed(state="deprecated", sunset_days=9), [], "keep"),
        (weighed(requests=0), [], "deprecate"),
        (weighed(requests=0, age_days=3), [], "keep"),
        (weighed(requests=0, aliases=("stable",)), [], "keep"),
        (weighed(state="validated", age_days=3), [], "keep"),
        (weighed(state="validated"), [], "retire"),
        (weighed(), [], "keep"),
        (
            weighed(quality=quality(0.8, 0.75, 0.85)),
            [weighed(number=2, quality=quality(0.9, 0.86, 0.94))],
            "deprecate",
        ),
        (
            weighed(quality=quality(0.8, 0.75, 0.85)),
            [weighed(number=2, quality=quality(0.9, 0.84, 0.95))],
            "keep",
        ),
        (weighed(quality=quality(0.8)), [weighed(number=2, quality=quality(0.9))], "deprecate"),
        (
            weighed(quality=quality(0.8)),
            [weighed(number=2, state="deprecated", quality=quality(0.9))],
            "keep",
        ),
    ],
)
def test_advice_follows_labels_traffic_sunset_and_evidence(
    version: Weighed, others: list[Weighed], advice: str
) -> None:
    assert advise(version, others, 30)[0] == advice
