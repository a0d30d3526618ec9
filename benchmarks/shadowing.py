"""What shadowing all requests costs the traffic: ``python -m benchmarks.shadowing``.

Rounds with and without a shadow alternate, so that whatever else the machine does hits both alike.
Twice: in an open loop over 32 connections at a part of the capacity, where the shadow should score
everything and the answers hardly notice; and in a closed loop that takes all that there is, where
the shadow has to give way.
"""

import contextlib
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import httpx
import msgspec
import typer
import uvloop
from prometheus_client.parser import text_string_to_metric_families
from sklearn.base import clone

import tollway
from benchmarks import machine
from benchmarks.judged import RESULTS, Check, Output, conclude
from benchmarks.measure import BackgroundLoad
from benchmarks.models import Trained, json_body, train_classifier
from benchmarks.open_loop import OpenSpec, drive
from benchmarks.report import make_console
from benchmarks.spec import Exchange, LoadSpec
from benchmarks.systems import Stack, stack
from benchmarks.targets import Verdict

MODEL: Final = "breast-cancer"
STABLE, SHADOW = 2, 1
CONNECTIONS: Final = 32
LOAD: Final = 0.25
"""Part of the capacity at which two cores have time for a shadow: scoring all of it once more and
the load's own clients, which cost more a request than those that measure the capacity, make it
more than half of the machine."""
TARGET_RATIO: Final = 1.2
TARGET_COMPARED: Final = 0.95
TARGET_KEPT: Final = 0.85
"""Of the closed loop's requests a second, where there is no time for the shadow."""
SETTLE_S: Final = 1.0
DEADLINE_MS: Final = 10_000
PERCENTILE: Final = 0.99


class Side(msgspec.Struct, kw_only=True):
    """The rounds with a shadow, or those without."""

    p50_ms: list[float] = []
    p99_ms: list[float] = []
    requests_per_s: list[float] = []
    failed: int = 0
    asked: int = 0
    """Requests that were to be mirrored."""
    compared: int = 0


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured: of each load the rounds without and with."""

    rate: float
    """Requests a second of the open loop."""
    without: Side
    shadowed: Side
    full_without: Side
    full_shadowed: Side


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run stores."""

    schema: str = "tollway.shadowing-benchmark/1"
    machine: machine.Machine
    cost: Cost
    verdicts: list[Verdict]


class Stand:
    """A stack with two versions of a model, one of which can be the other's shadow."""

    def __init__(self, tollwayd: Stack, client: tollway.Client) -> None:
        trained = train_classifier()
        fewer = clone(trained.estimator).fit(trained.X[::2], trained.y[::2])
        other = trained._replace(estimator=fewer)
        for one in (other, trained):
            client.deploy(one.estimator, name=MODEL, X=one.X, y=one.y)
        self.served = tollwayd.served(client, MODEL)
        self.exchanges = _exchanges(trained)
        self._http = httpx.Client(
            base_url=tollwayd.url, headers={"Authorization": f"Bearer {tollwayd.token}"}
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def shadow(self, on: bool) -> None:
        """Shadow every request, or none."""
        shadows = [{"version": SHADOW, "percent": 100}] if on else []
        path = f"/api/v1/models/{MODEL}/rollout"
        self._http.put(path, json={"shadow": shadows}).raise_for_status()
        time.sleep(SETTLE_S)

    def counts(self) -> tuple[int, int]:
        """Requests that were to be mirrored, and that were compared."""
        text = self._http.get("/metrics").raise_for_status().text
        found = {"tollway_shadow_requests_total": 0, "tollway_shadow_shed_total": 0}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in found:
                    found[sample.name] += int(sample.value)
        compared = found["tollway_shadow_requests_total"]
        return compared + found["tollway_shadow_shed_total"], compared

    def closed(self, seconds: float) -> tuple[float, float, float, int]:
        """Requests a second of a closed loop, p50 and p99 in milliseconds, failures."""
        spec = LoadSpec(
            host="127.0.0.1",
            port=self.served.port,
            path=self.served.path,
            api_key=self.served.api_key,
            exchanges=self.exchanges,
            connections=CONNECTIONS,
            seconds=seconds,
            warm_up_s=0.5,
        )
        with BackgroundLoad(spec) as load:
            found = load.result()
        failed = sum(n for status, n in found.statuses.items() if status != "200") + found.broken
        return found.requests_per_s, found.latency.p50_ms, found.latency.p99_ms, failed

    def paced(self, rate: float, seconds: float) -> tuple[float, float, float, int]:
        """The same of an open loop."""
        spec = OpenSpec(
            rate=rate, seconds=seconds, deadline_ms=DEADLINE_MS, connections=CONNECTIONS
        )
        found = uvloop.run(drive(self.served, self.exchanges, spec))
        took = sorted(reply.took_s * 1000 for reply in found.replies)
        failed = found.sent - sum(reply.status == 200 for reply in found.replies)
        return (
            len(took) / seconds,
            took[len(took) // 2],
            took[int(PERCENTILE * len(took))],
            failed,
        )


def _exchanges(trained: Trained) -> list[Exchange]:
    return [Exchange(body=json_body("input", row)) for row in trained.X[:64]]


def measure(rounds: int, seconds: float) -> Cost:
    """Start, measure, stop."""
    with contextlib.ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tollway-bench-")))
        tollwayd = cleanup.enter_context(stack(folder))
        client = cleanup.enter_context(contextlib.closing(tollwayd.client()))
        stand = cleanup.enter_context(contextlib.closing(Stand(tollwayd, client)))
        rate = LOAD * stand.closed(seconds)[0]
        sides = [Side() for _ in range(4)]
        for number in range(rounds):
            # The order changes from round to round: neither is always the first.
            for on in (False, True) if number % 2 else (True, False):
                stand.shadow(on)
                for side, paced in ((sides[on], True), (sides[2 + on], False)):
                    _one(stand, side, rate if paced else None, seconds)
        return Cost(
            rate=rate,
            without=sides[0],
            shadowed=sides[1],
            full_without=sides[2],
            full_shadowed=sides[3],
        )


def _one(stand: Stand, side: Side, rate: float | None, seconds: float) -> None:
    asked, compared = stand.counts()
    found = stand.closed(seconds) if rate is None else stand.paced(rate, seconds)
    time.sleep(SETTLE_S)  # what waits is compared
    asked_after, compared_after = stand.counts()
    side.requests_per_s.append(found[0])
    side.p50_ms.append(found[1])
    side.p99_ms.append(found[2])
    side.failed += found[3]
    side.asked += asked_after - asked
    side.compared += compared_after - compared


def judge(cost: Cost) -> list[Verdict]:
    """The targets against what was measured."""
    paced = median(cost.shadowed.p99_ms) / median(cost.without.p99_ms)
    share = cost.shadowed.compared / max(cost.shadowed.asked, 1)
    kept = median(cost.full_shadowed.requests_per_s) / median(cost.full_without.requests_per_s)
    full = median(cost.full_shadowed.p99_ms) / median(cost.full_without.p99_ms)
    shed = 1 - cost.full_shadowed.compared / max(cost.full_shadowed.asked, 1)
    failed = cost.shadowed.failed + cost.full_shadowed.failed
    return [
        Verdict(
            target=f"all requests shadowed at {LOAD:.0%} of the capacity: p99 below "
            f"{TARGET_RATIO:g} times that without",
            measured=f"{paced:.2f} times ({median(cost.shadowed.p99_ms):.2f} over "
            f"{median(cost.without.p99_ms):.2f} ms, {cost.rate:.0f} requests/s)",
            passed=paced < TARGET_RATIO,
        ),
        Verdict(
            target=f"of these at least {TARGET_COMPARED:.0%} compared",
            measured=f"{share:.1%} of {cost.shadowed.asked}",
            passed=share >= TARGET_COMPARED,
        ),
        Verdict(
            target=f"at full load: more than {TARGET_KEPT:.0%} of the requests a second",
            measured=f"{kept:.1%} (p99 {full:.2f} times; {shed:.0%} of the shadow was shed)",
            passed=kept > TARGET_KEPT,
        ),
        Verdict(
            target="no answer failed because of a shadow",
            measured=f"{failed} failed",
            passed=failed == 0,
        ),
    ]


def main(
    *,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="Of a round.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each.")] = 10,
    output: Output = RESULTS,
    check: Check = False,
) -> None:
    """Measure answers with and without a shadow, and store the result."""
    console = make_console()
    conditions = machine.describe()
    cost = measure(rounds, seconds)
    report = Report(machine=conditions, cost=cost, verdicts=judge(cost))
    path = machine.result_path(output, conditions)
    named = path.with_name(f"shadowing-{path.name}")
    met = conclude(console, named, report, report.verdicts)
    if check and not met:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
