"""Scores a captured input again, and compares the answers value by value, down to their bits."""

import gzip
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
import numpy as np

from tollway.errors import ServerError
from tollway.tensors import BINARY_TYPE, HEADER_LENGTH, Array, decode_response
from tollway.transport import Transport

SHOWN: Final = 20
"""Values that a difference lists; the rest is counted."""
LAST_BITS: Final = 1e-5
"""Relative difference of numbers below which only rounding differs: kernels for one row and for
many add in another order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDifference:
    """One value: where it stands in the output, and what it was in both answers."""

    index: tuple[int, ...]
    before: object
    after: object


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputDifference:
    """One output. ``flips`` counts labels that differ, texts and whole numbers, ``differing`` all
    values whose bits do; ``max_abs`` and ``mean_abs`` are of the numbers, over all of them."""

    output: str
    values: int
    differing: int
    flips: int = 0
    max_abs: float = 0.0
    mean_abs: float = 0.0
    max_relative: float = 0.0
    first: tuple[ValueDifference, ...] = ()
    problem: str = ""
    """Why the values cannot be compared: another shape, another type, or it is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A captured prediction beside its answer of now.

    ``equal``: every value has the same bits. ``same_text``: so have the whole bodies.
    ``shared_run`` is of the original; replays run as they come. ``only_rounding``: no label
    differs, and no number by more than its last bits.
    """

    id: str
    replay_id: str
    model: str
    version: int
    replayed_version: int
    equal: bool
    same_text: bool
    only_rounding: bool
    shared_run: bool
    same_artifact: bool
    same_runtime: bool
    outputs: tuple[OutputDifference, ...]
    verdict: str


class Scored(NamedTuple):
    """An answer of now."""

    id: str
    body: bytes
    header_length: int | None


class Leaf(NamedTuple):
    """One value of an output, and what makes it equal to another."""

    place: tuple[int, ...]
    value: object
    bits: bytes


def score(
    transport: Transport,
    *,
    model: str,
    version: int,
    v1: bool,
    body: bytes,
    header_length: int | None,
    request_coding: str | None,
    answer_coding: str | None,
) -> Scored:
    """Send a body as it was sent, to one version."""
    path = (
        f"/v1/models/{model}/versions/{version}:predict"
        if v1
        else f"/v2/models/{model}/versions/{version}/infer"
    )
    headers = {"Content-Type": "application/json", "Accept-Encoding": answer_coding or "identity"}
    if header_length is not None:
        headers |= {"Content-Type": BINARY_TYPE, HEADER_LENGTH: str(header_length)}
    if request_coding:
        headers["Content-Encoding"] = request_coding
        body = gzip.compress(body) if request_coding == "gzip" else zlib.compress(body)
    answer = transport.request("POST", path, content=body, headers=headers)
    length = answer.headers.get(HEADER_LENGTH)
    return Scored(
        answer.headers.get("Tollway-Prediction-Id", ""),
        answer.content,
        None if length is None else int(length),
    )


def compared(
    *,
    id: str,
    model: str,
    versions: tuple[int, int],
    v1: bool,
    before: tuple[bytes, int | None],
    after: Scored,
    shared_run: bool,
    same_artifact: bool,
    same_runtime: bool,
) -> Replay:
    """The comparison of the answer ``before`` (body and header length) with the one ``after``."""
    outputs = tuple(
        differences(
            _outputs(before[0], before[1], v1=v1), _outputs(after.body, after.header_length, v1=v1)
        )
    )
    equal = not any(one.differing or one.problem for one in outputs)
    rounding = not equal and all(
        not one.problem and not one.flips and one.max_relative <= LAST_BITS for one in outputs
    )
    same_text = before[0] == after.body
    return Replay(
        id=id,
        replay_id=after.id,
        model=model,
        version=versions[0],
        replayed_version=versions[1],
        equal=equal,
        same_text=same_text,
        only_rounding=rounding,
        shared_run=shared_run,
        same_artifact=same_artifact,
        same_runtime=same_runtime,
        outputs=outputs,
        verdict=_verdict(
            equal=equal,
            same_text=same_text,
            rounding=rounding,
            shared_run=shared_run,
            same_artifact=same_artifact,
            same_runtime=same_runtime,
        ),
    )


def _verdict(
    *,
    equal: bool,
    same_text: bool,
    rounding: bool,
    shared_run: bool,
    same_artifact: bool,
    same_runtime: bool,
) -> str:
    if equal:
        text = "the body too" if same_text else "the bodies differ in what is no value"
        return f"equal: every value has the same bits, {text}"
    if not same_artifact:
        return "differs: another version answers otherwise"
    if not same_runtime:
        return "differs: the same artifact ran in another runtime, see both receipts"
    if rounding and shared_run:
        return (
            "differs in the last bits: the answer shared a run with others, and kernels for many "
            "rows round otherwise than those for few"
        )
    if rounding:
        return "differs in the last bits: a run beside other requests rounds otherwise"
    return "differs: the same artifact in the same runtime gave another answer"


def differences(
    before: dict[str, list[Leaf]], after: dict[str, list[Leaf]]
) -> Iterator[OutputDifference]:
    """How each output differs, those of either answer."""
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after or name not in before:
            only = "the first" if name in before else "the second"
            yield OutputDifference(
                output=name, values=0, differing=0, problem=f"is in {only} answer alone"
            )
        elif [leaf.place for leaf in before[name]] != [leaf.place for leaf in after[name]]:
            yield OutputDifference(output=name, values=0, differing=0, problem="has another shape")
        else:
            yield _difference(name, before[name], after[name])


def _difference(name: str, before: list[Leaf], after: list[Leaf]) -> OutputDifference:
    first: list[ValueDifference] = []
    differing = flips = numbers = 0
    total = largest = relative = 0.0
    for old, new in zip(before, after, strict=True):
        is_number = isinstance(old.value, float) and isinstance(new.value, float)
        numbers += is_number
        if old.bits == new.bits:
            continue
        differing += 1
        if len(first) < SHOWN:
            first.append(ValueDifference(index=old.place, before=old.value, after=new.value))
        if not is_number:
            flips += 1
            continue
        apart, share = _apart(old.value, new.value)
        total, largest, relative = total + apart, max(largest, apart), max(relative, share)
    return OutputDifference(
        output=name,
        values=len(before),
        differing=differing,
        flips=flips,
        max_abs=largest,
        mean_abs=total / numbers if numbers else 0.0,
        max_relative=relative,
        first=tuple(first),
    )


def _apart(old: object, new: object) -> tuple[float, float]:
    """Absolute and relative difference; infinite where one of them is no finite number."""
    assert isinstance(old, float)
    assert isinstance(new, float)
    if math.isnan(old) and math.isnan(new):
        return 0.0, 0.0
    if not (math.isfinite(old) and math.isfinite(new)):
        return math.inf, math.inf
    apart = abs(old - new)
    return apart, apart / max(abs(old), abs(new), 1e-300)


def _outputs(body: bytes, header_length: int | None, *, v1: bool) -> dict[str, list[Leaf]]:
    if v1:
        return _rows(body)
    headers = {} if header_length is None else {HEADER_LENGTH: str(header_length)}
    return {name: list(_leaves(array)) for name, array in decode_response(headers, body).items()}


def _leaves(array: Array) -> Iterator[Leaf]:
    for index in np.ndindex(array.shape):
        element: object = array[index]
        if isinstance(element, np.generic):
            yield Leaf(index, element.item(), element.tobytes())
        else:
            yield Leaf(index, element, repr(element).encode())


def _rows(body: bytes) -> dict[str, list[Leaf]]:
    """The values of a V1 answer by output: rows may be objects, or one output's values alone."""
    try:
        document = msgspec.json.decode(body, type=dict[str, object])
    except msgspec.DecodeError as error:
        raise ServerError(f"the prediction's answer cannot be read: {error}") from error
    found: dict[str, list[Leaf]] = {}
    for key in ("predictions", "outputs"):
        if key in document:
            _walk(found, key, document[key], ())
    return found


def _walk(found: dict[str, list[Leaf]], name: str, value: object, index: tuple[int, ...]) -> None:
    if isinstance(value, list):
        for position, item in enumerate(value):
            _walk(found, name, item, (*index, position))
    elif isinstance(value, dict):
        for key, item in value.items():
            _walk(found, str(key), item, index)
    else:
        # The shortest text of a float is another for other bits, also where 0.0 stands by -0.0.
        found.setdefault(name, []).append(Leaf(index, value, repr(value).encode()))
