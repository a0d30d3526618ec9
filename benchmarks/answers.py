"""Whether an answer is right, and how long answers took."""

import math
from collections import Counter

import msgspec
import numpy as np

from benchmarks.spec import Answer, Exchange, Latency

BUCKETS_PER_DOUBLING = 4
BINARY = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "INT32": "<i4"}


def difference_from(
    exchange: Exchange, body: bytes, json_bytes: int | None, tolerance: float
) -> str:
    """What is wrong with an answer; empty when every expected output is there and equal.

    ``json_bytes`` is its ``Inference-Header-Content-Length``; None: all of it is JSON.
    """
    try:
        outputs = _outputs(exchange.answer, body, json_bytes)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        return f"not the answer that was asked for ({error!r}): {body[:200]!r}"
    for name, values in exchange.expected.items():
        got = outputs.get(name, [])
        if len(got) != len(values):
            return f"output {name!r} has {len(got)} values instead of {len(values)}"
        for index, (is_, should) in enumerate(zip(got, values, strict=True)):
            if not math.isclose(is_, should, rel_tol=tolerance, abs_tol=tolerance):
                return f"output {name!r}[{index}] is {is_}, scikit-learn says {should}"
    return ""


def _outputs(answer: Answer, body: bytes, json_bytes: int | None) -> dict[str, list[float]]:
    """Output name -> flat values."""
    document = msgspec.json.decode(body if json_bytes is None else body[:json_bytes])
    if answer is Answer.PROBABILITIES:
        return {"probabilities": flatten(document)}
    if answer is Answer.PREDICTIONS:
        return {name: flatten(values) for name, values in document["predictions"].items()}
    found, at = {}, json_bytes or 0
    for output in document["outputs"]:
        if "data" in output:
            found[output["name"]] = flatten(output["data"])
            continue
        size = output["parameters"]["binary_data_size"]
        values = np.frombuffer(body[at : at + size], BINARY[output["datatype"]])
        found[output["name"]] = values.astype(float).tolist()
        at += size
    return found


def flatten(data: object) -> list[float]:
    """The numbers of a nested or flat list, in their order."""
    if isinstance(data, list):
        return [value for item in data for value in flatten(item)]
    return [float(data)] if isinstance(data, (int, float)) else []


def latency_of(nanoseconds: list[int]) -> Latency:
    """Percentiles (nearest rank) and a histogram."""
    if not nanoseconds:
        return Latency(p50_ms=0.0, p99_ms=0.0, p999_ms=0.0, max_ms=0.0, mean_ms=0.0)
    ordered = sorted(nanoseconds)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] / 1e6

    return Latency(
        p50_ms=at(0.50),
        p99_ms=at(0.99),
        p999_ms=at(0.999),
        max_ms=ordered[-1] / 1e6,
        mean_ms=sum(ordered) / len(ordered) / 1e6,
        buckets=_histogram(ordered),
    )


def _histogram(nanoseconds: list[int]) -> dict[str, int]:
    exponents = Counter(
        math.ceil(math.log2(max(value, 1)) * BUCKETS_PER_DOUBLING) for value in nanoseconds
    )
    return {
        f"{2 ** (exponent / BUCKETS_PER_DOUBLING) / 1e6:.4g}": count
        for exponent, count in sorted(exponents.items())
    }
