"""Summaries, verdicts, the stored result and its picture."""

import io
from pathlib import Path
from xml.etree import ElementTree

import msgspec
from rich.console import Console

from benchmarks import chart
from benchmarks.machine import Machine, describe, result_path
from benchmarks.measure import Round, Summary, summarise
from benchmarks.processes import Memory
from benchmarks.report import Report, Verdict, judge, show, store
from benchmarks.scenarios import SizeCost, size_bodies, size_costs, summaries
from benchmarks.spec import Latency, LoadResult
from benchmarks.systems import HANDWRITTEN, HANDWRITTEN_TUNED, TOLLWAY

MACHINE = Machine(
    at="2026-01-02T03:04:05+00:00",
    commit="abcdef123456",
    dirty=False,
    command="python -m benchmarks",
    cpu="A <fast> CPU & more",
    cores=2,
    memory_gb=8.0,
    system="Linux",
    python="3.11",
    load_average=(0.0, 0.0, 0.0),
    libraries={},
    peer_libraries={},
)


def load(answered: int, p50_ms: float = 1.0, p99_ms: float = 2.0, wrong: int = 0) -> LoadResult:
    return LoadResult(
        answered=answered,
        measured=answered,
        seconds=1.0,
        requests_per_s=answered,
        latency=Latency(p50_ms=p50_ms, p99_ms=p99_ms, p999_ms=3.0, max_ms=4.0, mean_ms=1.0),
        statuses={"200": answered},
        verified=answered,
        wrong=wrong,
        broken=0,
        unanswered=0,
        reconnects=0,
        longest_gap_ms=0.0,
    )


def round_of(system: str, answered: int, *, label: str = "", **cpu_s: float) -> Round:
    return Round(system=system, label=label, connections=32, load=load(answered), cpu_s=cpu_s)


def summary(system: str, per_cpu: float, p50_ms: float, p99_ms: float) -> Summary:
    return Summary(
        system=system,
        connections=32,
        rounds=1,
        requests_per_s=per_cpu,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        p999_ms=p99_ms,
        requests_per_cpu_s=per_cpu,
        requests_per_cpu_s_range=(per_cpu, per_cpu),
        cpu_share={"gateway": 0.6, "engine": 0.4},
        errors=0,
    )


def verdicts_of(ours: Summary, theirs: Summary) -> list[bool]:
    return [verdict.passed for verdict in judge([theirs, ours], [], [], 0)]


def size(label: str, added_ms: float) -> SizeCost:
    return SizeCost(
        label=label,
        body_bytes=1,
        requests=1,
        gateway_ms=1.0,
        engine_ms=1.0,
        added_gateway_ms=added_ms,
        p50_ms=1.0,
        errors=0,
    )


def report() -> Report:
    results = [
        summary(HANDWRITTEN, 900, 20, 70),
        summary(HANDWRITTEN_TUNED, 1600, 20, 40),
        summary(TOLLWAY, 18_000, 1, 4),
    ]
    return Report(
        machine=MACHINE,
        parameters={"rounds": 1},
        model="a model",
        request_bytes=300,
        summaries=results,
        sizes=[size("0.5 kB JSON", 0.0), size("1 MB JSON", 0.5)],
        memory=[Memory(role="gateway", processes=1, rss_mb=80.0, pss_mb=70.0)],
        verdicts=[Verdict(target="speed", measured="20", passed=True)],
    )


def test_requests_per_cpu_second_counts_every_role() -> None:
    assert round_of(TOLLWAY, 300, gateway=1.0, engine=0.5, control=1.5).requests_per_cpu_s == 100


def test_a_summary_is_the_median_of_its_rounds() -> None:
    rounds = [round_of(TOLLWAY, answered, gateway=1.0) for answered in (100, 900, 200)]
    result = summarise(rounds)
    assert result.requests_per_cpu_s == 200
    assert list(result.requests_per_cpu_s_range) == [100, 900]
    assert result.cpu_share == {"gateway": 1.0}


def test_rounds_are_summarised_by_connections_and_system() -> None:
    rounds = [round_of(TOLLWAY, 1, gateway=1.0), round_of(HANDWRITTEN, 1, main=1.0)] * 2
    assert [(s.system, s.rounds) for s in summaries(rounds)] == [(TOLLWAY, 2), (HANDWRITTEN, 2)]


def test_ten_times_the_requests_and_a_p99_below_the_p50_pass() -> None:
    assert verdicts_of(summary(TOLLWAY, 9000, 1, 19), summary(HANDWRITTEN, 900, 20, 70)) == [
        True,
        True,
        True,
    ]


def test_less_than_ten_times_or_a_p99_above_the_p50_fail() -> None:
    assert verdicts_of(summary(TOLLWAY, 8999, 1, 20), summary(HANDWRITTEN, 900, 20, 70)) == [
        False,
        False,
        True,
    ]


def test_large_bodies_memory_and_errors_are_judged() -> None:
    sizes = [size("small", 0.0), size("1 MB JSON", 0.99), size("1 MB binary", 1.0)]
    memory = [Memory(role=role, processes=1, rss_mb=300.0, pss_mb=None) for role in ("a", "b")]
    assert [v.passed for v in judge([], sizes, memory, 1)] == [True, False, False, False]


def test_added_gateway_cpu_is_against_the_smallest_body() -> None:
    bodies = size_bodies()
    measured = [
        round_of(TOLLWAY, 100, label=label, gateway=cpu_s, engine=1.0)
        for label, cpu_s in zip(bodies, (0.01, 0.06, 0.04), strict=True)
    ]
    costs = size_costs(measured, bodies)
    assert [round(cost.added_gateway_ms, 6) for cost in costs] == [0.0, 0.5, 0.3]
    assert abs(costs[0].body_bytes - 500) < 60
    assert all(abs(cost.body_bytes - 1_000_000) < 5_000 for cost in costs[1:])


def test_a_stored_result_reads_back_as_it_was(tmp_path: Path) -> None:
    path = result_path(tmp_path / "results", MACHINE)
    store(path, report())
    assert path.name == "2026-01-02-abcdef123456.json"
    assert msgspec.json.decode(path.read_bytes(), type=Report) == report()


def test_the_tables_show_ratios_and_verdicts() -> None:
    output = io.StringIO()
    show(Console(file=output, width=200), report())
    text = output.getvalue()
    assert "20.0" in text
    assert "PASS" in text
    assert "0.500" in text


def test_the_picture_has_a_bar_for_each_system(tmp_path: Path) -> None:
    chart.write(report(), tmp_path / "docs" / "bench.svg")
    root = ElementTree.fromstring((tmp_path / "docs" / "bench.svg").read_text())
    bars = root.findall("{http://www.w3.org/2000/svg}rect")
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert len(widths) == 3
    assert abs(widths[2] / widths[0] - 20) < 0.2
    assert "A <fast> CPU & more" in "".join(root.itertext())


def test_the_machine_is_described() -> None:
    machine = describe()
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.libraries["onnxruntime"]
