"""Golden rows: a stored request whose answer this engine must reproduce before it takes traffic."""

from typing import Any

import msgspec
import numpy as np

from protocol.errors import TollwayError
from protocol.manifest import Golden
from serving.batcher import Runner
from serving.call import Call
from serving.signature import Signature
from serving.tensors import FLOATS, Array, exact_floats, show, to_tensor
from serving.v2_json import V2Json


class GoldenError(Exception):
    """The engine does not answer as the publisher's conversion did."""


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    data: list[Any]


class _Response(msgspec.Struct):
    outputs: list[_Output]


def read(data: bytes, decoder: V2Json) -> tuple[Golden, Call]:
    """The golden document and its request, decoded as a client's would be."""
    try:
        golden = msgspec.json.decode(data, type=Golden)
        with exact_floats():
            return golden, decoder.decode(bytes(golden.request))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GoldenError(f"the golden rows are not readable: {error}") from error
    except TollwayError as error:
        raise GoldenError(f"the golden request is refused: {error.public}") from error


def replay(golden: Golden, call: Call, runner: Runner, signature: Signature) -> None:
    """Run the golden request and compare. Raises :class:`GoldenError` at the first difference."""
    try:
        arrays = runner.run(call.feeds)
        expected = msgspec.json.decode(golden.response, type=_Response)
    except TollwayError as error:
        raise GoldenError(f"the golden request fails: {error.public}") from error
    except msgspec.DecodeError as error:
        raise GoldenError(f"the golden response is not readable: {error}") from error
    for output in expected.outputs:
        try:
            index = signature.output(output.name)
        except TollwayError as error:
            raise GoldenError(error.public) from error
        _compare(output, arrays[index], index, signature, golden)


def _compare(
    expected: _Output, got: Array | None, index: int, signature: Signature, golden: Golden
) -> None:
    spec = signature.outputs[index]
    what = f"golden rows: output {show(spec.name)}"
    if got is None:
        raise GoldenError(f"{what} is not given")
    if list(got.shape) != expected.shape:
        raise GoldenError(f"{what} has shape {list(got.shape)}, expected {expected.shape}")
    try:
        wanted = to_tensor(expected.data, spec, expected.shape)
    except TollwayError as error:
        raise GoldenError(f"the golden response is not usable: {error.public}") from error
    if spec.datatype in FLOATS:
        with np.errstate(invalid="ignore"):
            left, right = got.astype(np.float64), wanted.astype(np.float64)
            same = np.abs(left - right) <= golden.atol + golden.rtol * np.abs(right)
        # JSON writes NaN and the infinities as null, so null stands for any of them.
        same |= ~np.isfinite(left) & np.isnan(right)
    else:
        same = np.asarray(got == wanted)  # of strings without dimensions it is a plain bool
    if not same.all():
        place = tuple(int(i) for i in np.argwhere(~same)[0])
        raise GoldenError(
            f"{what}{list(place)} is {show(_element(got, place))}, "
            f"expected {show(_element(wanted, place))}"
        )


def _element(array: Array, place: tuple[int, ...]) -> object:
    value = array[place]
    return value.item() if isinstance(value, np.generic) else value
