"""Summaries, verdicts, the stored result and its picture."""

import io
from pathlib import Path
from xml.etree import ElementTree

import msgspec
from rich.console import Console

from benchmarks import chart
from benchmarks.machine import Machine, describe, result_path
from benchmarks.measure import Round, Summary, summarise
from benchmarks.page import publish
from benchmarks.peer_systems import BARE, ENVOY, HANDWRITTEN, HANDWRITTEN_TUNED
from benchmarks.processes import Memory
from benchmarks.report import Report, show, store
from benchmarks.runtime_loop import LoopResult
from benchmarks.scenarios import LoopRound, SizeCost, size_bodies, size_costs
from benchmarks.spec import Latency, LoadResult
from benchmarks.systems import TOLLWAY
from benchmarks.targets import JUDGED, Verdict, judge
from benchmarks.turns import Comparison, comparisons

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


def round_of(
    system: str, answered: int, *, label: str = "", turn: str = "", **cpu_s: float
) -> Round:
    return Round(
        system=system, turn=turn, label=label, connections=32, load=load(answered), cpu_s=cpu_s
    )


def summary(
    system: str, per_cpu: float, p50_ms: float, p99_ms: float, connections: int = 32
) -> Summary:
    return Summary(
        system=system,
        turn="",
        label=JUDGED,
        connections=connections,
        rounds=1,
        requests_per_s=per_cpu,
        rows_per_s=per_cpu,
        p50_ms=p50_ms,
        p99_ms=p99_ms,
        p999_ms=p99_ms,
        requests_per_cpu_s=per_cpu,
        requests_per_cpu_s_range=(per_cpu, per_cpu),
        cpu_share={"gateway": 0.6, "engine": 0.4},
        errors=0,
    )


def beside(theirs: Summary, ours: Summary) -> Comparison:
    return Comparison(label=JUDGED, connections=theirs.connections, theirs=theirs, ours=ours)


def verdicts_of(theirs: Summary, ours: Summary) -> list[bool]:
    """Without the last, which is about errors."""
    return [verdict.passed for verdict in judge([beside(theirs, ours)], [], [], [], 0)][:-1]


def loop(rows_per_s: float, of: float) -> LoopRound:
    result = LoopResult(rows_per_s=of, rows_per_cpu_s=of)
    return LoopRound(loop=result, rows_per_s=rows_per_s, rows_per_engine_cpu_s=rows_per_s, errors=0)


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
        beside(summary(HANDWRITTEN, 900, 20, 70), summary(TOLLWAY, 18_000, 1, 4)),
        beside(summary(HANDWRITTEN_TUNED, 1600, 20, 40), summary(TOLLWAY, 18_000, 1, 4)),
    ]
    return Report(
        machine=MACHINE,
        parameters={"rounds": 1},
        model="a model",
        request_bytes=300,
        comparisons=results,
        loops=[loop(900_000, 1_000_000)],
        absent={"Ray Serve": "no memory"},
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


def test_a_peer_is_compared_with_tollway_in_the_same_turn() -> None:
    rounds = [
        round_of(HANDWRITTEN, 100, turn=HANDWRITTEN, main=1.0),
        round_of(TOLLWAY, 2000, turn=HANDWRITTEN, gateway=1.0),
        round_of(ENVOY, 1000, turn=ENVOY, main=1.0),
        round_of(TOLLWAY, 4000, turn=ENVOY, gateway=1.0),
    ] * 2
    found = [(one.theirs.system, one.ratio, one.ours.rounds) for one in comparisons(rounds)]
    assert found == [(HANDWRITTEN, 20.0, 2), (ENVOY, 4.0, 2)]


def test_the_handwritten_service_is_held_to_three_targets() -> None:
    ours = summary(TOLLWAY, 20_000, 1, 19)
    assert verdicts_of(summary(HANDWRITTEN, 900, 20, 70), ours) == [True, True, True]
    # 20 times as many is less than 20,000 where it makes 900.
    assert verdicts_of(summary(HANDWRITTEN, 1000, 20, 70), ours) == [False, True, True]
    assert verdicts_of(summary(HANDWRITTEN, 1001, 19, 70), ours) == [False, False, False]


def test_envoy_is_held_to_a_third_and_to_its_latency() -> None:
    ours = summary(TOLLWAY, 18_000, 1, 4)
    assert verdicts_of(summary(ENVOY, 6000, 1, 5), ours) == [True, True]
    assert verdicts_of(summary(ENVOY, 6001, 1, 4), ours) == [False, False]


def test_one_connection_is_held_to_the_latency_of_a_bare_application() -> None:
    ours = summary(TOLLWAY, 4000, 0.22, 1, connections=1)
    assert verdicts_of(summary(BARE, 4000, 0.20, 1, connections=1), ours) == [True]
    assert verdicts_of(summary(BARE, 4000, 0.19, 1, connections=1), ours) == [False]


def test_large_requests_are_held_to_a_loop_of_the_runtime() -> None:
    for rows_per_s, passed in ((800, True), (799, False)):
        verdicts = judge([], [loop(rows_per_s, 1000)], [], [], 0)
        assert [verdict.passed for verdict in verdicts] == [passed, True]


def test_large_bodies_memory_and_errors_are_judged() -> None:
    sizes = [size("small", 0.0), size("1 MB JSON", 0.99), size("1 MB binary", 1.0)]
    memory = [Memory(role=role, processes=1, rss_mb=300.0, pss_mb=None) for role in ("a", "b")]
    assert [v.passed for v in judge([], [], sizes, memory, 1)] == [True, False, False, False]


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
    assert "90%" in text
    assert "not measured: Ray Serve: no memory" in text
    assert "PASS" in text
    assert "0.500" in text


def test_the_picture_has_a_bar_for_each_system(tmp_path: Path) -> None:
    chart.write(report(), tmp_path / "docs" / "bench.svg")
    root = ElementTree.fromstring((tmp_path / "docs" / "bench.svg").read_text())
    bars = root.findall("{http://www.w3.org/2000/svg}rect")
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert len(widths) == 3
    assert abs(max(widths) / min(widths) - 20) < 0.2
    assert "A <fast> CPU & more" in "".join(root.itertext())


def test_the_page_has_every_system_ratio_and_target(tmp_path: Path) -> None:
    publish(report(), tmp_path / "benchmarks.md", tmp_path / "bench.svg")
    text = (tmp_path / "benchmarks.md").read_text()
    assert f"| 32 | {HANDWRITTEN} | 900 | 900 | 20.00 | 70.00 | 900 | 20.0 |" in text
    assert "| speed | 20 | met |" in text
    assert "Ray Serve did not start on this machine, and is not measured: no memory" in text
    assert (tmp_path / "bench.svg").exists()


def test_the_machine_is_described() -> None:
    machine = describe()
    assert machine.cpu
    assert machine.cores >= 1
    assert machine.libraries["onnxruntime"]
