"""Bodies on their way to a remote server and back. Pure.

What goes out is written anew from what was read: the server sees the very shapes that the plan's
row limit was kept by, whatever a body repeats or hides. Tensors' data is carried over as it is, and
read only where a server speaks no binary (:mod:`gateway.remote_tensors`). What comes back gets this
gateway's names for the model and its version.
"""

import json
import re
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from gateway.remote_tensors import to_binary, to_json
from protocol.datatypes import DATATYPES
from protocol.errors import Code, TollwayError
from protocol.frames import NO_HEADER, Operation
from protocol.manifest import Manifest, Tensor

MAX_REFUSAL_CHARACTERS: Final = 10_000
_MAX_SHOWN: Final = 400
_SHARED_MEMORY: Final = "shared_memory_"
_LENGTH: Final = re.compile(r"[0-9]{1,10}")
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Shape = Annotated[list[Size], Meta(max_length=64)]
"""As many dimensions as a manifest may have: the product of more could keep a core for minutes."""


class _Input(msgspec.Struct):
    name: str
    shape: Shape
    datatype: str
    parameters: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: Raw | UnsetType = UNSET
    parameters: Raw | UnsetType = UNSET
    outputs: Raw | UnsetType = UNSET


class _Chosen(msgspec.Struct):
    name: str
    parameters: Raw | UnsetType = UNSET


class _Output(msgspec.Struct):
    name: str
    shape: Shape
    datatype: str
    parameters: Raw | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


class _Response(msgspec.Struct):
    outputs: list[_Output]
    id: Raw | UnsetType = UNSET
    parameters: Raw | UnsetType = UNSET


class _Reply(msgspec.Struct):
    model_name: str
    model_version: str
    outputs: list[_Output]
    id: Raw | UnsetType = UNSET
    parameters: Raw | UnsetType = UNSET


class _Binary(msgspec.Struct):
    binary_data_size: Size = 0


class _Error(msgspec.Struct):
    error: str


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


class MalformedAnswer(Exception):  # noqa: N818 -- says what came
    """The remote server's answer is not the protocol's."""


class RemoteBodies:
    """Reads one remote version's requests and answers."""

    def __init__(self, manifest: Manifest, version: int, *, binary: bool) -> None:
        """``binary``: whether the server speaks binary tensors."""
        self.binary = binary
        self._model = manifest.model
        self._version = str(version)
        self._inputs = {tensor.name: tensor for tensor in manifest.inputs}
        self._raw = _single(manifest)
        self._requests = msgspec.json.Decoder(_Request)
        self._responses = msgspec.json.Decoder(_Response)
        self._binary = msgspec.json.Decoder(_Binary)
        self._errors = msgspec.json.Decoder(_Error)

    def outgoing(self, body: bytes, header_length: int, operation: int, max_rows: int) -> Outgoing:
        """The request to send for a client's. ``max_rows`` 0: no limit.

        Raises ``MALFORMED``, ``INVALID_TENSOR``, and ``TOO_LARGE`` for more rows than that.
        """
        if operation != Operation.V2_INFER:
            raise TollwayError(
                Code.MALFORMED,
                f"'{self._model}' version {self._version} is on a remote server, which is asked by "
                f"V2 alone: POST /v2/models/{self._model}/infer",
            )
        if header_length == 0 and self.binary:
            found = Outgoing(body, 0, self._raw_rows(len(body)))
        elif header_length == 0:
            found = self._raw_as_json(body)
        elif header_length == NO_HEADER:
            request, rows = self._read(body)
            found = self._encoded(request, rows, memoryview(b""))
        elif header_length > len(body):
            raise TollwayError(
                Code.MALFORMED,
                f"Inference-Header-Content-Length is {header_length}, but the body has "
                f"{len(body)} bytes",
            )
        else:
            request, rows = self._read(memoryview(body)[:header_length])
            found = self._encoded(request, rows, memoryview(body)[header_length:])
        if max_rows and found.rows > max_rows:
            raise TollwayError(
                Code.TOO_LARGE,
                f"the request has {found.rows} rows, and the plan allows {max_rows} in one "
                "(max_rows): split it",
            )
        return found

    def incoming(
        self, body: bytes, header_length: str | None, wanted: Wanted | None = None
    ) -> tuple[bytes, int]:
        """The answer for the client, and the bytes of JSON before its tensors (``NO_HEADER``: all
        is JSON). Raises :class:`MalformedAnswer`."""
        if header_length is None:
            reply = self._renamed(body, 0)
            return (reply, NO_HEADER) if wanted is None else self._as_binary(reply, wanted)
        if not _LENGTH.fullmatch(header_length) or int(header_length) > len(body):
            raise MalformedAnswer("its Inference-Header-Content-Length does not fit")
        length = int(header_length)
        header = self._renamed(body[:length], len(body) - length)
        return b"".join((header, memoryview(body)[length:])), len(header)

    def refusal(self, body: bytes) -> str | None:
        """What a server says is wrong with a request; None where it does not say."""
        try:
            text = self._errors.decode(body).error
        except _UNREADABLE:
            return None
        plain = "".join(c if c.isprintable() else " " for c in text[:MAX_REFUSAL_CHARACTERS])
        return plain.strip() or None

    def _encoded(self, request: _Request, rows: int, binary: memoryview) -> Outgoing:
        wanted = None
        if self.binary:
            header = msgspec.json.encode(request)
            if not binary:
                return Outgoing(header, NO_HEADER, rows)
            return Outgoing(b"".join((header, binary)), len(header), rows)
        try:
            wanted = _taken_wishes(request)
            sizes = [_taken(given, "binary_data_size", int) for given in request.inputs]
        except _UNREADABLE as error:
            raise TollwayError(Code.MALFORMED, f"a parameter cannot be read: {error}") from None
        at = 0
        for given, size in zip(request.inputs, sizes, strict=True):
            if size is None:
                continue
            if not 0 <= size <= len(binary) - at:
                raise _invalid(f"input {given.name[:80]!r} has no {size} bytes after the JSON")
            part = binary[at : at + size]
            given.data = to_json(given.name, given.datatype, given.shape, part)
            at += size
        if at != len(binary):
            raise _invalid(f"{len(binary) - at} bytes follow the last binary tensor")
        return Outgoing(msgspec.json.encode(request), NO_HEADER, rows, wanted)

    def _raw_as_json(self, body: bytes) -> Outgoing:
        rows = self._raw_rows(len(body))
        assert self._raw is not None
        given = self._raw
        shape = [1 if size < 0 else size for size in given.shape]
        if given.shape[:1] == (-1,):
            shape[0] = rows
        data = to_json(given.name, given.datatype, shape, memoryview(body))
        request = _Request([_Input(given.name, shape, given.datatype, data=data)])
        wanted = Wanted(default=True, outputs={})
        return Outgoing(msgspec.json.encode(request), NO_HEADER, rows, wanted)

    def _as_binary(self, reply: bytes, wanted: Wanted) -> tuple[bytes, int]:
        answer = msgspec.json.decode(reply, type=_Reply)
        parts: list[bytes] = []
        try:
            for output in answer.outputs:
                if wanted.outputs.get(output.name, wanted.default) and output.data is not UNSET:
                    part = to_binary(output.datatype, output.shape, output.data)
                    given = output.parameters
                    parameters = {} if given is UNSET else _decode_parameters(given) or {}
                    parameters["binary_data_size"] = Raw(b"%d" % len(part))
                    output.parameters = Raw(msgspec.json.encode(parameters))
                    output.data = UNSET
                    parts.append(part)
        except (ValueError, RecursionError) as error:
            raise MalformedAnswer(f"an output of it is no tensor: {error}") from None
        header = msgspec.json.encode(answer)
        return (b"".join((header, *parts)), len(header)) if parts else (header, NO_HEADER)

    def _read(self, text: bytes | memoryview) -> tuple[_Request, int]:
        try:
            request = self._requests.decode(text)
        except _UNREADABLE as error:
            raise TollwayError(
                Code.MALFORMED,
                f"the request cannot be read: {error} (NaN and Infinity have no JSON form here: "
                "send binary tensors)",
            ) from None
        sizes: list[int] = []
        names: set[str] = set()
        for given in request.inputs:
            known = self._inputs.get(given.name)
            if known is None:
                listed = ", ".join(repr(name) for name in self._inputs)[:_MAX_SHOWN]
                raise _invalid(f"unknown input {given.name[:80]!r}: the model takes {listed}")
            if given.name in names:
                raise _invalid(f"input {given.name[:80]!r} is given twice")
            names.add(given.name)
            if given.datatype != known.datatype:
                raise _invalid(
                    f"input {given.name[:80]!r} is {given.datatype[:20]!r}; "
                    f"the model takes {known.datatype}"
                )
            if known.shape[:1] == (-1,) and given.shape:
                sizes.append(given.shape[0])
        if not request.inputs:
            raise _invalid("the request has no inputs")
        try:
            _check_parameters(request)
        except _UNREADABLE as error:
            raise TollwayError(Code.MALFORMED, f"a parameter cannot be read: {error}") from None
        first = request.inputs[0].shape
        return request, max(sizes) if sizes else first[0] if first else 1

    def _raw_rows(self, size: int) -> int:
        """Rows of a body that is one tensor and nothing else."""
        if self._raw is None:
            raise TollwayError(
                Code.MALFORMED,
                "a raw binary request needs a model with one input, of which one dimension at "
                "most is dynamic",
            )
        row = DATATYPES[self._raw.datatype]
        for length in self._raw.shape[1:]:
            row *= abs(length)
        if self._raw.shape[:1] != (-1,) or not row:
            return self._raw.shape[0] if self._raw.shape and self._raw.shape[0] > 0 else 1
        if not size or size % row:
            raise _invalid(f"the body has {size} bytes, no positive multiple of {row}, one row's")
        return size // row

    def _renamed(self, text: bytes, binary: int) -> bytes:
        try:
            answer = self._responses.decode(text)
        except _UNREADABLE:
            answer = self._leniently(text)
        announced = 0
        for output in answer.outputs:
            if output.parameters is not UNSET and b"binary_data_size" in bytes(output.parameters):
                try:
                    announced += self._binary.decode(output.parameters).binary_data_size
                except _UNREADABLE:
                    raise MalformedAnswer("a binary_data_size of it is not a size") from None
        if announced != binary:
            raise MalformedAnswer("its binary tensors do not have the sizes that it announces")
        return msgspec.json.encode(
            _Reply(self._model, self._version, answer.outputs, answer.id, answer.parameters)
        )

    def _leniently(self, text: bytes) -> _Response:
        """Some servers write NaN and Infinity, which JSON does not have: null, as we do."""
        try:
            return self._responses.decode(msgspec.json.encode(json.loads(text)))
        except (*_UNREADABLE, ValueError):
            raise MalformedAnswer("it is not the protocol's JSON") from None


def _check_parameters(request: _Request) -> None:
    """Refuse what would have the server read or write memory that it shares with others on its
    machine (Triton's extension): callers of a gateway are none of those."""
    chosen: list[_Chosen] = []
    if request.outputs is not UNSET:
        chosen = _decode_outputs(request.outputs) or []
    holders: list[_Request | _Input | _Chosen] = [request, *request.inputs, *chosen]
    for holder in holders:
        if holder.parameters is UNSET:
            continue
        names = _decode_parameters(holder.parameters)
        if names is None:  # some clients write null where nothing is meant
            holder.parameters = UNSET
        elif any(name.startswith(_SHARED_MEMORY) for name in names):
            raise _invalid("tensors in shared memory are not taken: send their data")
    request.outputs = Raw(msgspec.json.encode(chosen)) if chosen else UNSET


_decode_parameters = msgspec.json.Decoder(dict[str, Raw] | None).decode
_decode_outputs = msgspec.json.Decoder(list[_Chosen] | None).decode
_Value = TypeVar("_Value", int, bool)


def _taken_wishes(request: _Request) -> Wanted | None:
    """Take what asks for binary answers out of a request; None where nothing does."""
    default = _taken(request, "binary_data_output", bool) or False
    outputs: dict[str, bool] = {}
    if request.outputs is not UNSET:
        chosen = _decode_outputs(request.outputs) or []
        for one in chosen:
            wish = _taken(one, "binary_data", bool)
            if wish is not None:
                outputs[one.name] = wish
        request.outputs = Raw(msgspec.json.encode(chosen))
    return Wanted(default, outputs) if default or any(outputs.values()) else None


def _taken(holder: _Request | _Input | _Chosen, name: str, kind: type[_Value]) -> _Value | None:
    """Take one parameter out; None where there is none."""
    if holder.parameters is UNSET:
        return None
    parameters = _decode_parameters(holder.parameters) or {}
    value = parameters.pop(name, None)
    holder.parameters = Raw(msgspec.json.encode(parameters)) if parameters else UNSET
    return None if value is None else msgspec.json.decode(value, type=kind)


def _single(manifest: Manifest) -> Tensor | None:
    """The input that a raw binary body means: the only one, if its shape follows from a size."""
    required = [tensor for tensor in manifest.inputs if not tensor.optional]
    if len(required) != 1 or sum(size < 0 for size in required[0].shape) > 1:
        return None
    return required[0]


def _invalid(text: str) -> TollwayError:
    return TollwayError(Code.INVALID_TENSOR, text)
