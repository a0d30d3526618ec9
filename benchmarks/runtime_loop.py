# mypy: disable-error-code="import-untyped"
"""ONNX Runtime in a loop: what rows per second there are to be had, without any serving.

``python -m benchmarks.runtime_loop MODEL.onnx ROWS SECONDS`` reads FP32 rows of the model's width
from stdin, and prints a :class:`LoopResult`.
"""

import subprocess
import sys
import time
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks.systems import ROOT


class LoopResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the loop did."""

    rows_per_s: float
    rows_per_cpu_s: float


def run_loop(graph: Path, rows: NDArray[np.float32], seconds: float) -> LoopResult:
    """The loop in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.runtime_loop", str(graph), str(len(rows))]
    done = subprocess.run(
        [*command, str(seconds)],
        input=rows.tobytes(),
        capture_output=True,
        check=True,
        timeout=seconds + 60,
        cwd=ROOT,
    )
    return msgspec.json.decode(done.stdout, type=LoopResult)


def main() -> None:
    """Loop with the options that an engine uses: one thread, no spinning."""
    graph, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    rows = np.frombuffer(sys.stdin.buffer.read(), np.float32).reshape(count, -1)
    name = session.get_inputs()[0].name
    session.run(None, {name: rows})
    runs, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds:
        session.run(None, {name: rows})
        runs += 1
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    result = LoopResult(rows_per_s=runs * count / took, rows_per_cpu_s=runs * count / cpu)
    sys.stdout.buffer.write(msgspec.json.encode(result))


if __name__ == "__main__":
    main()
