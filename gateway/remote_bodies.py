"""Bodies on their way to a remote server and back. Pure.

What goes out is written anew from what was read: the server sees the very shapes that the plan's
row limit was kept by, whatever a body repeats or hides. Tensors' data is carried over as it is, and
read only where a server speaks no binary (:mod:`gateway.remote_tensors`). What comes back gets this
gateway's names for the model and its version.
"""

import json
import re
from collections.abc import Mapping
from math import prod
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET, Raw

from gateway.remote_messages import (
    UNREADABLE,
    Chosen,
    GivenTensor,
    MalformedAnswer,
    Refusal,
    Reply,
    Request,
    Response,
    decode_chosen,
    decode_parameters,
)
from gateway.remote_signature import RemoteSignature, bytes_misfit, check_data
from gateway.remote_tensors import to_binary, to_json
from protocol.datatypes import DATATYPES
from protocol.errors import Code, TollwayError
from protocol.frames import NO_HEADER, Operation
from protocol.manifest import Manifest, Tensor

MAX_REFUSAL_CHARACTERS: Final = 10_000
_SHARED_MEMORY: Final = "shared_memory_"
_LENGTH: Final = re.compile(r"[0-9]{1,10}")


class Wanted(msgspec.Struct, frozen=True):
    """Which outputs the caller wants in binary."""

    default: bool
    outputs: dict[str, bool]


class Outgoing(msgspec.Struct, frozen=True):
    """A request as the remote server gets it."""

    body: bytes
    header_length: int
    """Bytes of JSON before the tensors; ``NO_HEADER``: all is JSON."""
    rows: int
    wanted: Wanted | None = None
    """Outputs that are to be made binary of, for a server that gives JSON alone."""
    outputs: Mapping[str, str] = {}
    """Outputs asked for by name, with their datatypes."""


class RemoteBodies:
    """Reads one remote version's requests and answers."""

    def __init__(self, manifest: Manifest, version: int, *, binary: bool) -> None:
        """``binary``: whether the server speaks binary tensors."""
        self.binary = binary
        self._model = manifest.model
        self._version = str(version)
        self._signature = RemoteSignature(manifest)
        self._raw = _single(manifest)
        self._requests = msgspec.json.Decoder(Request)
        self._responses = msgspec.json.Decoder(Response)
        self._errors = msgspec.json.Decoder(Refusal)

    def outgoing(self, body: bytes, header_length: int, operation: int, max_rows: int) -> Outgoing:
        """The request to send for a client's. ``max_rows`` 0: no limit.

        Raises ``MALFORMED``, ``INVALID_TENSOR``, and ``TOO_LARGE`` for more rows than that.
        """
        if operation == Operation.V1_EXPLAIN:
            raise TollwayError(
                Code.UNEXPLAINABLE,
                f"'{self._model}' version {self._version} is on a remote server: only versions "
                "that run here are explained",
            )
        if operation != Operation.V2_INFER:
            raise TollwayError(
                Code.MALFORMED,
                f"'{self._model}' version {self._version} is on a remote server, which is asked by "
                f"V2 alone: POST /v2/models/{self._model}/infer",
            )
        if header_length == 0 and self.binary:
            found = Outgoing(body, 0, _rows(self._raw_shape(body)))
        elif header_length == 0:
            found = self._raw_as_json(body)
        elif header_length == NO_HEADER:
            found = self._read(body, memoryview(b""))
        elif header_length > len(body):
            raise TollwayError(
                Code.MALFORMED,
                f"Inference-Header-Content-Length is {header_length}, but the body has "
                f"{len(body)} bytes",
            )
        else:
            text = memoryview(body)
            found = self._read(text[:header_length], text[header_length:])
        if max_rows and found.rows > max_rows:
            raise TollwayError(
                Code.TOO_LARGE,
                f"the request has {found.rows} rows, and the plan allows {max_rows} in one "
                "(max_rows): split it",
            )
        return found

    def incoming(
        self, body: bytes, header_length: str | None, asked: Outgoing
    ) -> tuple[bytes, int]:
        """The answer to ``asked`` for the client, and the bytes of JSON before its tensors
        (``NO_HEADER``: all is JSON). Raises :class:`MalformedAnswer`."""
        if header_length is None:
            answer = self._checked(body, memoryview(b""), asked.outputs)
            if asked.wanted is not None:
                return self._as_binary(answer, asked.wanted)
            return msgspec.json.encode(answer), NO_HEADER
        if not _LENGTH.fullmatch(header_length) or int(header_length) > len(body):
            raise MalformedAnswer("its Inference-Header-Content-Length does not fit")
        length = int(header_length)
        binary = memoryview(body)[length:]
        header = msgspec.json.encode(self._checked(body[:length], binary, asked.outputs))
        return b"".join((header, binary)), len(header)

    def refusal(self, body: bytes) -> str | None:
        """What a server says is wrong with a request; None where it does not say."""
        try:
            text = self._errors.decode(body).error
        except UNREADABLE:
            return None
        plain = "".join(c if c.isprintable() else " " for c in text[:MAX_REFUSAL_CHARACTERS])
        return plain.strip() or None

    def _read(self, text: bytes | memoryview, binary: memoryview) -> Outgoing:
        try:
            request = self._requests.decode(text)
        except UNREADABLE as error:
            raise TollwayError(
                Code.MALFORMED,
                f"the request cannot be read: {error} (NaN and Infinity have no JSON form here: "
                "send binary tensors)",
            ) from None
        rows = self._signature.check_inputs(request.inputs)
        try:
            outputs = self._signature.expected(_check_parameters(request))
            check_data(request.inputs, binary, "input", _invalid)
            if not self.binary:
                return self._as_json(request, rows, binary, outputs)
        except UNREADABLE as error:
            raise TollwayError(Code.MALFORMED, f"a parameter cannot be read: {error}") from None
        header = msgspec.json.encode(request)
        if not binary:
            return Outgoing(header, NO_HEADER, rows, outputs=outputs)
        return Outgoing(b"".join((header, binary)), len(header), rows, outputs=outputs)

    def _as_json(
        self, request: Request, rows: int, binary: memoryview, outputs: Mapping[str, str]
    ) -> Outgoing:
        wanted = _taken_wishes(request)
        at = 0
        for given in request.inputs:
            size = _taken(given, "binary_data_size", int)
            if size is None:
                continue
            part = binary[at : at + size]
            given.data = to_json(given.name, given.datatype, given.shape, part)
            at += size
        return Outgoing(msgspec.json.encode(request), NO_HEADER, rows, wanted, outputs)

    def _raw_as_json(self, body: bytes) -> Outgoing:
        shape = self._raw_shape(body)
        assert self._raw is not None
        given = self._raw
        data = to_json(given.name, given.datatype, shape, memoryview(body))
        request = Request([GivenTensor(given.name, shape, given.datatype, data=data)])
        wanted = Wanted(default=True, outputs={})
        return Outgoing(msgspec.json.encode(request), NO_HEADER, _rows(shape), wanted)

    @staticmethod
    def _as_binary(answer: Reply, wanted: Wanted) -> tuple[bytes, int]:
        parts: list[bytes] = []
        try:
            for output in answer.outputs:
                if wanted.outputs.get(output.name, wanted.default) and output.data is not UNSET:
                    part = to_binary(output.datatype, output.shape, output.data)
                    given = output.parameters
                    parameters = {} if given is UNSET else decode_parameters(given) or {}
                    parameters["binary_data_size"] = Raw(b"%d" % len(part))
                    output.parameters = Raw(msgspec.json.encode(parameters))
                    output.data = UNSET
                    parts.append(part)
        except (ValueError, RecursionError) as error:
            raise MalformedAnswer(f"an output of it is no tensor: {error}") from None
        header = msgspec.json.encode(answer)
        return (b"".join((header, *parts)), len(header)) if parts else (header, NO_HEADER)

    def _raw_shape(self, body: bytes) -> list[int]:
        """The shape of a body that is one tensor and nothing else."""
        if self._raw is None:
            raise TollwayError(
                Code.MALFORMED,
                "a raw binary request needs a model with one input, of which one dimension at "
                "most is dynamic",
            )
        what = f"input {self._raw.name[:80]!r} data"
        shape = [1 if size < 0 else size for size in self._raw.shape]
        part = prod(shape) * DATATYPES[self._raw.datatype]
        if -1 in self._raw.shape and part:
            if not body or len(body) % part:
                raise _invalid(
                    f"{what} has {len(body)} bytes, "
                    f"which is no positive multiple of {part}, the size of a row"
                )
            shape[self._raw.shape.index(-1)] = len(body) // part
        if misfit := bytes_misfit(self._raw.datatype, shape, memoryview(body)):
            raise _invalid(f"{what} {misfit}")
        return shape

    def _checked(self, text: bytes, binary: memoryview, expected: Mapping[str, str]) -> Reply:
        """The answer, found to be one of this model, under this gateway's names for it."""
        try:
            answer = self._responses.decode(text)
        except UNREADABLE:
            answer = self._leniently(text)
        try:
            self._signature.check_outputs(answer.outputs, binary, expected)
        except UNREADABLE:
            raise MalformedAnswer("an output of it cannot be read") from None
        return Reply(self._model, self._version, answer.outputs, answer.id, answer.parameters)

    def _leniently(self, text: bytes) -> Response:
        """Some servers write NaN and Infinity, which JSON does not have: null, as we do."""
        try:
            return self._responses.decode(msgspec.json.encode(json.loads(text)))
        except (*UNREADABLE, ValueError):
            raise MalformedAnswer("it is not the protocol's JSON") from None


def _check_parameters(request: Request) -> list[Chosen]:
    """The outputs that a request asks for by name.

    Refuses what would have the server read or write memory that it shares with others on its
    machine (Triton's extension): callers of a gateway are none of those.
    """
    chosen: list[Chosen] = []
    if request.outputs is not UNSET:
        chosen = decode_chosen(request.outputs) or []
    holders: list[Request | GivenTensor | Chosen] = [request, *request.inputs, *chosen]
    for holder in holders:
        if holder.parameters is UNSET:
            continue
        names = decode_parameters(holder.parameters)
        if names is None:  # some clients write null where nothing is meant
            holder.parameters = UNSET
        elif any(name.startswith(_SHARED_MEMORY) for name in names):
            raise _invalid("tensors in shared memory are not taken: send their data")
        else:  # written anew: a repeated name would be read otherwise there
            holder.parameters = Raw(msgspec.json.encode(names))
    request.outputs = Raw(msgspec.json.encode(chosen)) if chosen else UNSET
    return chosen


_Value = TypeVar("_Value", int, bool)


def _taken_wishes(request: Request) -> Wanted | None:
    """Take what asks for binary answers out of a request; None where nothing does."""
    default = _taken(request, "binary_data_output", bool) or False
    outputs: dict[str, bool] = {}
    if request.outputs is not UNSET:
        chosen = decode_chosen(request.outputs) or []
        for one in chosen:
            wish = _taken(one, "binary_data", bool)
            if wish is not None:
                outputs[one.name] = wish
        request.outputs = Raw(msgspec.json.encode(chosen))
    return Wanted(default, outputs) if default or any(outputs.values()) else None


def _taken(holder: Request | GivenTensor | Chosen, name: str, kind: type[_Value]) -> _Value | None:
    """Take one parameter out; None where there is none."""
    if holder.parameters is UNSET:
        return None
    parameters = decode_parameters(holder.parameters) or {}
    value = parameters.pop(name, None)
    holder.parameters = Raw(msgspec.json.encode(parameters)) if parameters else UNSET
    return None if value is None else msgspec.json.decode(value, type=kind)


def _rows(shape: list[int]) -> int:
    return shape[0] if shape else 1


def _single(manifest: Manifest) -> Tensor | None:
    """The input that a raw binary body means: the only one, if its shape follows from a size."""
    required = [tensor for tensor in manifest.inputs if not tensor.optional]
    if len(required) != 1 or sum(size < 0 for size in required[0].shape) > 1:
        return None
    return required[0]


def _invalid(text: str) -> TollwayError:
    return TollwayError(Code.INVALID_TENSOR, text)
