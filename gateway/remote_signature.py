"""Whether a remote version's requests and answers are of the tensors that it declares. Pure.

A wrong request is refused here, in the engine's words: the remote server's own answer to it may be
a failure, which would count as the server's. JSON data is counted, its elements are not read.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from math import prod
from struct import Struct
from typing import Final

import msgspec
from msgspec import UNSET, Raw

from gateway.remote_messages import (
    Chosen,
    GivenTensor,
    MalformedAnswer,
    binary_size,
    decode_parameters,
)
from gateway.remote_tensors import flat
from protocol.datatypes import DATATYPES
from protocol.errors import Code, TollwayError
from protocol.manifest import Manifest, Tensor

_MAX_LISTED: Final = 400
_SHOWN: Final = 80
_LENGTH: Final = Struct("<I")
_EMPTY_ARRAY: Final = re.compile(rb"\[\s*\]")


class RemoteSignature:
    """The inputs and outputs of one remote version."""

    def __init__(self, manifest: Manifest) -> None:
        self._inputs = {tensor.name: tensor for tensor in manifest.inputs}
        self._outputs = {tensor.name: tensor.datatype for tensor in manifest.outputs}
        self._required = [tensor.name for tensor in manifest.inputs if not tensor.optional]

    def check_inputs(self, inputs: Sequence[GivenTensor]) -> int:
        """Refuse names, datatypes and shapes that the model does not take; returns the rows.

        Raises ``INVALID_TENSOR``.
        """
        if not inputs:
            raise _invalid("the request has no inputs")
        names: set[str] = set()
        sizes: list[int] = []
        for given in inputs:
            known = self._inputs.get(given.name)
            if known is None:
                raise _invalid(
                    f"unknown input {_shown(given.name)}: the model takes {_listed(self._inputs)}"
                )
            if given.name in names:
                raise _invalid(f"input {_shown(given.name)} is given twice")
            names.add(given.name)
            _check_input(given, known)
            if known.shape[:1] == (-1,):
                sizes.append(given.shape[0])
        for name in self._required:
            if name not in names:
                raise _invalid(f"input {_shown(name)} is missing")
        first = inputs[0].shape
        return max(sizes) if sizes else first[0] if first else 1

    def expected(self, chosen: Sequence[Chosen]) -> Mapping[str, str]:
        """Outputs that a request asks for by name, with the datatypes that they will have.

        Raises ``INVALID_TENSOR`` for one that the model does not have, or that is asked for twice.
        """
        found: dict[str, str] = {}
        for output in chosen:
            if output.name not in self._outputs:
                raise _invalid(
                    f"unknown output {_shown(output.name)}: the model has {_listed(self._outputs)}"
                )
            if output.name in found:
                raise _invalid(f"output {_shown(output.name)} is requested twice")
            wishes: Mapping[str, Raw] | None = None
            if output.parameters is not UNSET:
                wishes = decode_parameters(output.parameters)
            # Triton's extension answers with classes' names instead of the tensor's numbers.
            classes = wishes is not None and "classification" in wishes
            found[output.name] = "BYTES" if classes else self._outputs[output.name]
        return found

    def check_outputs(
        self, outputs: Sequence[GivenTensor], binary: memoryview, expected: Mapping[str, str]
    ) -> None:
        """Refuse an answer that has other outputs than the model, lacks one of those ``expected``,
        or whose data does not fill its shapes. Some servers leave outputs out that nobody asked for
        by name. Raises :class:`MalformedAnswer`."""
        datatypes = {**self._outputs, **expected}
        names: set[str] = set()
        for output in outputs:
            datatype = datatypes.get(output.name)
            if datatype is None:
                raise MalformedAnswer(f"it has an unknown output {_shown(output.name)}")
            if output.name in names:
                raise MalformedAnswer(f"it has output {_shown(output.name)} twice")
            names.add(output.name)
            if output.datatype != datatype:
                raise MalformedAnswer(f"output {_shown(output.name)} of it is not {datatype}")
        if not names or not expected.keys() <= names:
            raise MalformedAnswer("an output is missing in it")
        check_data(outputs, binary, "output", MalformedAnswer)


def check_data(
    tensors: Sequence[GivenTensor],
    binary: memoryview,
    role: str,
    error: Callable[[str], Exception],
) -> None:
    """Refuse tensors whose data, in JSON or in their part of ``binary``, does not fill their
    shapes; raises an ``error``. Their datatypes are known ones."""
    at = 0
    for given in tensors:
        what = f"{role} {_shown(given.name)}"
        size = binary_size(given)
        if size is None:
            if given.data is UNSET:
                raise error(f"{what} has neither 'data' nor 'binary_data_size'")
            found, count = _elements(given.data), prod(given.shape)
            if found != count:
                raise error(
                    f"{what} data has {found} elements, "
                    f"but its shape {_shown(given.shape)} has {count}"
                )
            continue
        if given.data is not UNSET:
            raise error(f"{what} has both 'data' and 'binary_data_size'")
        if size > len(binary) - at:
            raise error(
                f"{what} has binary_data_size {size}, but only {len(binary) - at} bytes follow"
            )
        misfit = bytes_misfit(given.datatype, given.shape, binary[at : at + size])
        if misfit:
            raise error(f"{what} data {misfit}")
        at += size
    if at != len(binary):
        raise error(f"{len(binary) - at} bytes follow the last binary tensor")


def bytes_misfit(datatype: str, shape: Sequence[int], data: memoryview) -> str:
    """Why a binary tensor's bytes do not fill its shape; empty: they do."""
    count = prod(shape)
    item = DATATYPES[datatype]
    if item:
        wanted = count * item
        fits = len(data) == wanted
        return "" if fits else (
            f"has {len(data)} bytes, but shape {_shown(shape)} of {datatype} has {wanted}"
        )  # fmt: skip
    at = found = 0
    while at < len(data):
        if len(data) - at < _LENGTH.size:
            return "has a string whose length is cut off"
        at += _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        found += 1
    if at > len(data):
        return "has a string that is cut off"
    return "" if found == count else (
        f"has {found} elements, but its shape {_shown(shape)} has {count}"
    )  # fmt: skip


def _check_input(given: GivenTensor, known: Tensor) -> None:
    what = f"input {_shown(given.name)}"
    if given.datatype != known.datatype:
        unknown = "" if given.datatype in DATATYPES else ", which is no datatype of the protocol"
        raise _invalid(
            f"{what} has datatype {_shown(given.datatype)}{unknown}; "
            f"the model takes {known.datatype}"
        )
    takes = f"but the model takes {list(known.shape)}"
    if len(given.shape) != len(known.shape):
        raise _invalid(
            f"{what} has {len(given.shape)} dimensions in shape {_shown(given.shape)}, {takes}"
        )
    if any(0 <= want != size for size, want in zip(given.shape, known.shape, strict=True)):
        raise _invalid(f"{what} has shape {_shown(given.shape)}, {takes}")


def _elements(data: Raw) -> int:
    """Elements of a JSON array, nested or flat. In arrays of which none is empty, of values without
    commas of their own, there is one more than there are commas."""
    text = bytes(data)
    if b'"' in text or b"{" in text or _EMPTY_ARRAY.search(text):
        return sum(1 for _ in flat(msgspec.json.decode(text)))
    return text.count(b",") + 1


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(map(repr, names))[:_MAX_LISTED]


def _shown(value: object) -> str:
    """A client's value as an error may repeat it."""
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _invalid(text: str) -> TollwayError:
    return TollwayError(Code.INVALID_TENSOR, text)
