"""What a version needs to go on, asked for and given, for tests."""

from typing import Any

import pytest

from protocol.errors import Code, TollwayError
from protocol.evidence import Evidence, Measured
from protocol.requirements import Requirements
from registry.access import INSTALLATION, Actor
from registry.status import ServingStatus
from registry.store.approvals import Decision
from registry.store.versions import VersionRecord
from tests.registry.conftest import Bench

ADA = Actor("ada", "sponsor")
ROWS = "sha256:" + "1" * 64


def require(bench: Bench, *criteria: str, sponsor: str | None = None) -> int:
    given = Requirements(criteria=criteria, sponsor=sponsor)
    return bench.registry.requirements.put("credit", given, by=INSTALLATION, expected=None)[
        0
    ].number


def evaluate(bench: Bench, version: VersionRecord, accuracy: float, **fields: Any) -> None:
    given = Evidence(
        model="credit",
        version=version.number,
        manifest_digest=version.digest,
        rows=100,
        rows_digest=ROWS,
        main_metric="accuracy",
        metrics={"accuracy": Measured(value=accuracy)},
        **fields,
    )
    bench.registry.evidence.add(given, actor="ann")


def decide(bench: Bench, decision: Decision, by: Actor = ADA, number: int = 1) -> bool:
    return bench.registry.approvals.decide("credit", number, decision, "a reason", by=by)[1]


def step(bench: Bench, version: VersionRecord, to: Any) -> VersionRecord:
    bench.serving["credit", version.number] = ServingStatus(state="ready")
    return bench.registry.lifecycle.transition("credit", version.number, to, actor="ann")


def refusal(bench: Bench, version: VersionRecord, to: Any) -> str:
    with pytest.raises(TollwayError) as caught:
        step(bench, version, to)
    assert caught.value.code is Code.CONFLICT
    return caught.value.public
