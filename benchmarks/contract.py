"""What checking a data contract costs an engine: ``python -m benchmarks.contract``.

CPU time of decoding a request and of checking it, in one thread, over the same bodies; the target
is the share of the one in the other. Rounds of both alternate, and the fastest of each counts:
what disturbs a round only ever makes it slower.
"""

import json
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import typer

from benchmarks.report import make_console
from protocol.configuration import ColumnRule, ContractDoc
from protocol.manifest import Column, Manifest, Tensor
from serving.call import Call
from serving.contract import Contract, Tally
from serving.signature import Signature
from serving.tensors import exact_floats
from serving.v1 import V1
from serving.v2_json import V2Json
from serving.v2_reply import V2Replies

FEATURES: Final = 30
ROUNDS: Final = 9
ROUND_S: Final = 0.02
MOST_US: Final = 40.0
"""Of one row."""


class Case(NamedTuple):
    """A request and the contract that it keeps to."""

    name: str
    rows: int
    decode: Callable[[bytes], Call]
    body: bytes
    contract: Contract


def main() -> None:
    """Measure, print, and exit 1 when a row's check takes longer than the target."""
    console = make_console()
    missed = False
    for case in (_matrix(1), _matrix(64), _matrix(1000), _columns(1), _columns(100)):
        decoding, checking = measured(case)
        late = case.rows == 1 and checking > MOST_US
        missed |= late
        console.print(
            f"{case.name}: decoding {decoding:.1f} us, checking {checking:.1f} us"
            + (f", more than {MOST_US:g}" if late else "")
        )
    raise typer.Exit(int(missed))


def measured(case: Case) -> tuple[float, float]:
    """Microseconds of CPU of decoding, and of checking, the case's request."""
    with exact_floats():
        call = case.decode(case.body)
        if not case.contract.check(call):
            raise RuntimeError(f"{case.name}: the request does not keep to its contract")
        pairs = [
            (_fastest(lambda: case.decode(case.body)), _fastest(lambda: case.contract.check(call)))
            for _ in range(ROUNDS)
        ]
    return min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)


def _fastest(work: Callable[[], object]) -> float:
    begun = time.thread_time()
    count = 0
    while time.thread_time() - begun < ROUND_S:
        for _ in range(20):
            work()
        count += 20
    return (time.thread_time() - begun) / count * 1e6


def _signature(inputs: tuple[Tensor, ...], columns: tuple[Column, ...]) -> Signature:
    return Signature(Manifest(model="m", inputs=inputs, outputs=(), columns=columns), 1)


def _contract(signature: Signature, rules: tuple[ColumnRule, ...]) -> Contract:
    return Contract(ContractDoc(mode="enforce", rules=rules), signature, Tally())


def _matrix(rows: int) -> Case:
    """Floats, limits on every column, V2."""
    names = [f"c{index}" for index in range(FEATURES)]
    signature = _signature(
        (Tensor(name="input", datatype="FP32", shape=(-1, FEATURES)),),
        tuple(
            Column(name=name, type="float", input="input", index=index)
            for index, name in enumerate(names)
        ),
    )
    rules = tuple(ColumnRule(column=name, minimum=0, maximum=1) for name in names)
    data = [round(index % 97 / 97, 3) for index in range(rows * FEATURES)]
    tensor = {"name": "input", "shape": [rows, FEATURES], "datatype": "FP32", "data": data}
    return Case(
        f"{rows:>4} rows of {FEATURES} float columns (V2)",
        rows,
        V2Json(signature, V2Replies(signature)).decode,
        json.dumps({"inputs": [tensor]}).encode(),
        _contract(signature, rules),
    )


def _columns(rows: int) -> Case:
    """A float, a text and an integer column by name, V1."""
    kinds = {"age": "FP32", "city": "BYTES", "visits": "INT64"}
    signature = _signature(
        tuple(Tensor(name=name, datatype=kind, shape=(-1, 1)) for name, kind in kinds.items()),
        (
            Column(name="age", type="float", input="age"),
            Column(name="city", type="string", input="city", null=""),
            Column(name="visits", type="integer", input="visits"),
        ),
    )
    rules = (
        ColumnRule(column="age", minimum=0, maximum=120, nulls=False),
        ColumnRule(column="city", categories=("Kyiv", "Lyon"), nulls=False),
        ColumnRule(column="visits", minimum=0),
    )
    row = {"age": 20.5, "city": "Lyon", "visits": 3}
    return Case(
        f"{rows:>4} rows of float, text and integer columns (V1)",
        rows,
        V1(signature).decode,
        json.dumps({"instances": [row] * rows}).encode(),
        _contract(signature, rules),
    )


if __name__ == "__main__":
    typer.run(main)
