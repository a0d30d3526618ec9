"""One measured run: load on one system, and the CPU time that all its processes used for it."""

import statistics
import subprocess
import sys
import tempfile
import time
from typing import Self

import msgspec

from benchmarks.processes import cpu_between, cpu_by_role
from benchmarks.spec import Exchange, LoadResult, LoadSpec
from benchmarks.systems import ROOT, Served

SETTLE_S = 1.0
"""Work that a system does after its answers (shipping usage) within this time is charged to it."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one system."""

    system: str
    turn: str = ""
    """The peer whose turn it was: Tollway is measured again beside each."""
    label: str
    """What was asked."""
    rows: int = 1
    """Of a request."""
    connections: int
    load: LoadResult
    cpu_s: dict[str, float]
    """Role -> user and system seconds, warm-up and settling included."""

    @property
    def requests_per_cpu_s(self) -> float:
        """Answers per second of CPU time of every server process."""
        return self.load.answered / max(sum(self.cpu_s.values()), 1e-9)

    def cpu_ms(self, role: str) -> float:
        """CPU milliseconds of one role per answer."""
        return self.cpu_s.get(role, 0.0) * 1000 / max(self.load.answered, 1)


class BackgroundLoad:
    """The load generator in a process of its own, which runs while the caller does other things."""

    def __init__(self, spec: LoadSpec) -> None:
        self._limit = spec.warm_up_s + spec.seconds + spec.drain_s + 30.0
        # A file, not a pipe: a result with many ids is larger than a pipe, and nobody reads until
        # the caller asks for it.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 -- __exit__ closes it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE,
            stdout=self._output,
            cwd=ROOT,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(spec))
        self._process.stdin.close()
        self._process.stdin = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._output.close()

    def wait(self) -> int:
        """Wait for its end; the exit code."""
        return self._process.wait(timeout=self._limit)

    def result(self) -> LoadResult:
        """Wait for its end. Raises RuntimeError when it failed, or printed no result."""
        if self.wait() != 0:
            raise RuntimeError("the load generator failed; its message is above")
        self._output.seek(0)
        printed = self._output.read()
        # The result is the last line: what a library prints before it is no harm.
        *_, last = printed.splitlines() or [b""]
        try:
            return msgspec.json.decode(last, type=LoadResult)
        except msgspec.DecodeError as error:
            raise RuntimeError(
                f"the load generator ended with {printed[-200:]!r}, which is no result ({error})"
            ) from error


def run_load(spec: LoadSpec) -> LoadResult:
    """Run the load generator to its end."""
    with BackgroundLoad(spec) as load:
        return load.result()


def spec_for(
    served: Served, exchanges: list[Exchange], *, connections: int, seconds: float
) -> LoadSpec:
    """The load on ``served``."""
    return LoadSpec(
        host="127.0.0.1",
        port=served.port,
        path=served.path,
        api_key=served.api_key,
        exchanges=exchanges,
        connections=connections,
        seconds=seconds,
    )


def measure(
    served: Served,
    exchanges: list[Exchange],
    *,
    connections: int,
    seconds: float,
    label: str = "",
    turn: str = "",
    rows: int = 1,
) -> Round:
    """Load ``served`` and account for it."""
    spec = spec_for(served, exchanges, connections=connections, seconds=seconds)
    before = cpu_by_role(served.pid)
    result = run_load(spec)
    time.sleep(SETTLE_S)
    after = cpu_by_role(served.pid)
    return Round(
        system=served.system,
        turn=turn,
        label=label,
        rows=rows,
        connections=connections,
        load=result,
        cpu_s=cpu_between(before, after),
    )


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over the rounds of one system in one turn: same requests, same connections."""

    system: str
    turn: str
    label: str
    connections: int
    rounds: int
    requests_per_s: float
    rows_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    requests_per_cpu_s: float
    requests_per_cpu_s_range: tuple[float, float]
    cpu_share: dict[str, float]
    """Role -> its share of the CPU time."""
    errors: int


def summarise(rounds: list[Round]) -> Summary:
    """Medians of rounds that differ in nothing but their time."""
    per_cpu = [round_.requests_per_cpu_s for round_ in rounds]
    total = sum(sum(round_.cpu_s.values()) for round_ in rounds) or 1e-9
    roles = sorted({role for round_ in rounds for role in round_.cpu_s})
    return Summary(
        system=rounds[0].system,
        turn=rounds[0].turn,
        label=rounds[0].label,
        connections=rounds[0].connections,
        rounds=len(rounds),
        requests_per_s=statistics.median(round_.load.requests_per_s for round_ in rounds),
        rows_per_s=statistics.median(one.load.requests_per_s * one.rows for one in rounds),
        p50_ms=statistics.median(round_.load.latency.p50_ms for round_ in rounds),
        p99_ms=statistics.median(round_.load.latency.p99_ms for round_ in rounds),
        p999_ms=statistics.median(round_.load.latency.p999_ms for round_ in rounds),
        requests_per_cpu_s=statistics.median(per_cpu),
        requests_per_cpu_s_range=(min(per_cpu), max(per_cpu)),
        cpu_share={
            role: round(sum(round_.cpu_s.get(role, 0.0) for round_ in rounds) / total, 3)
            for role in roles
        },
        errors=sum(round_.load.errors for round_ in rounds),
    )
