"""The benchmark of large configurations measures gateways that start from their disk copies."""

import subprocess
import sys
from pathlib import Path

import msgspec

from benchmarks.catalog import CatalogReport

ROOT = Path(__file__).parents[2]


def test_both_sizes_are_measured_and_stored_with_their_conditions(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.catalog", "--keys", "1000", "--models", "20"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (stored,) = tmp_path.glob("*-catalog.json")
    report = msgspec.json.decode(stored.read_bytes(), type=CatalogReport)
    assert report.machine.commit
    assert [(cost.keys, cost.models) for cost in report.costs] == [(200, 10), (1000, 20)]
    for cost in report.costs:
        assert cost.documents > cost.keys
        for value in msgspec.structs.astuple(cost):
            assert value > 0
