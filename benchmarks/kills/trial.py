"""What every kill test has: a stack with the model, a load, an account, a verdict."""

import contextlib
from collections import Counter
from pathlib import Path

import msgspec

from benchmarks.kills.ledger import Account, Ledger
from benchmarks.kills.victims import find, wait_for
from benchmarks.measure import spec_for
from benchmarks.models import CLASSIFIER, Trained
from benchmarks.spec import LoadResult, LoadSpec
from benchmarks.systems import APPLICATION, Served, Stack
from benchmarks.workloads import Workload, exchanges

CONNECTIONS = 16
REPLACED_S = 30.0
"""How long a killed process may take to be back."""


class KillResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one test found."""

    name: str
    expectation: str
    killed: list[str]
    answered: int
    errors: int
    statuses: dict[str, int]
    broken: int
    """Connections lost with a request in flight: unavoidable only where the gateway is killed."""
    longest_gap_ms: float
    account: Account
    passed: bool
    first_failure: str = ""


class Bench(msgspec.Struct, frozen=True):
    """What every test needs."""

    folder: Path
    trained: Trained
    seconds: float
    """Length of the load."""

    def load(self, served: Served, *, reconnect: bool = False) -> LoadSpec:
        """The load of a kill test: every answer's id is kept."""
        requests = exchanges(self.trained, Workload(rows=1, binary=False))
        spec = spec_for(served, requests, connections=CONNECTIONS, seconds=self.seconds)
        return msgspec.structs.replace(spec, reconnect=reconnect, keep_ids=True)


class Deployed:
    """The classifier on a running stack, a key for it, and the ledger of its usage."""

    def __init__(self, bench: Bench, running: Stack, cleanup: contextlib.ExitStack) -> None:
        self.pid = running.pid
        self.client = cleanup.enter_context(contextlib.closing(running.client()))
        trained = bench.trained
        self.client.deploy(
            trained.estimator, name=CLASSIFIER, X=trained.X, y=trained.y, progress=False
        )
        self.served = running.served(self.client, CLASSIFIER)
        self._ledger = cleanup.enter_context(Ledger(running.data, bench.folder / "segments"))

    def wait_for_engines(self, count: int, without: int = 0) -> None:
        """Until ``count`` engines are ready, none of them the process ``without``."""

        def ready() -> bool:
            pids = [process.pid for process in find(self.pid, f"engine {CLASSIFIER}")]
            engines = self.client.version(CLASSIFIER, 1).serving.engines
            states = [engine.state for engine in engines]
            return len(pids) == count and without not in pids and states == ["ready"] * count

        wait_for(ready, REPLACED_S, f"{count} engines ready")

    def account(self, *loads: LoadResult) -> Account:
        """Whether the usage agrees with what clients got."""
        ids = [id_ for load in loads for id_ in load.ids]
        return self._ledger.account(self.client, APPLICATION, ids)


def judge(
    name: str,
    expectation: str,
    killed: list[str],
    account: Account,
    *loads: LoadResult,
    errors_allowed: bool = False,
) -> KillResult:
    answered = sum(load.answered for load in loads)
    errors = sum(load.errors for load in loads)
    wrong = sum(load.wrong for load in loads)
    statuses: Counter[str] = Counter()
    for load in loads:
        statuses.update(load.statuses)
    return KillResult(
        name=name,
        expectation=expectation,
        killed=killed,
        answered=answered,
        errors=errors,
        statuses=dict(statuses),
        broken=sum(load.broken for load in loads),
        longest_gap_ms=max(load.longest_gap_ms for load in loads),
        account=account,
        passed=bool(answered and not wrong and account.exact and (errors_allowed or not errors)),
        first_failure=next((load.first_failure for load in loads if load.first_failure), ""),
    )
