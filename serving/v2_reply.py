"""V2 replies: JSON with prebuilt parts, and the binary tensor extension."""

from struct import pack
from typing import Final

import msgspec

from protocol.datatypes import BINARY_ONLY
from protocol.frames import NO_HEADER
from serving.byte_session import ESCAPED
from serving.call import Results
from serving.signature import Signature
from serving.tensors import Array, invalid

MAX_CACHED_SHAPES: Final = 512
_DATA: Final = b'],"data":['
_END: Final = b"]},"
_SIZE: Final = b'],"parameters":{"binary_data_size":'
_json: Final = msgspec.json.Encoder().encode


class V2Replies:
    """Makes the encoders of one model's replies."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._names = [
            b'{"name":%b,"datatype":"%b","shape":[' % (_json(spec.name), spec.datatype.encode())
            for spec in signature.outputs
        ]
        self._opened: dict[tuple[int, tuple[int, ...], bytes], bytes] = {}
        self._identity = b'"model_name":%b,"model_version":"%d"' % (
            _json(signature.model),
            signature.version,
        )
        whole = [(index, False) for index in range(len(signature.outputs))]
        has_json = all(spec.datatype not in BINARY_ONLY for spec in signature.outputs)
        self.plain = self.encoder(whole, None, {}) if has_json else None
        """For requests that ask for nothing special: every output, as JSON (None: it has none)."""

    def encoder(
        self, wanted: list[tuple[int, bool]], request_id: str | None, echo: dict[str, object]
    ) -> "V2Encoder":
        """An encoder for outputs by position (with True: as binary), in the order given."""
        for index, binary in wanted:
            spec = self.signature.outputs[index]
            if spec.datatype in BINARY_ONLY and not binary:
                raise invalid(
                    f"output {spec.name!r} is {spec.datatype}, which has no JSON form: "
                    "request it with the parameter binary_data"
                )
        head = b"{" + self._identity
        if request_id is not None:
            head += b',"id":' + _json(request_id)
        if echo:
            head += b',"parameters":' + _json(echo)
        head += b',"outputs":['
        if any(binary for _, binary in wanted):
            return BinaryEncoder(self, head, wanted)
        return V2Encoder(self, head, wanted)

    def opened(self, output: int, shape: tuple[int, ...], then: bytes) -> bytes:
        """An output up to its data: ``{"name":...,"datatype":...,"shape":[...]`` and ``then``."""
        found = self._opened.get((output, shape, then))
        if found is None:
            if len(self._opened) >= MAX_CACHED_SHAPES:
                self._opened.clear()
            found = self._names[output] + ",".join(map(str, shape)).encode() + then
            self._opened[output, shape, then] = found
        return found


class V2Encoder:
    """A JSON reply: flat data, non-finite floats as null. An optional output that the run did not
    give is left out."""

    __slots__ = ("head", "replies", "wanted")

    def __init__(self, replies: V2Replies, head: bytes, wanted: list[tuple[int, bool]]) -> None:
        self.replies = replies
        self.head = head
        self.wanted = wanted

    def encode(self, results: Results, start: int, stop: int) -> tuple[bytes, int]:
        """See :class:`serving.call.Encoder`."""
        parts = [self.head]
        for output, _ in self.wanted:
            if results.arrays[output] is None:
                continue
            text, shape = self.text(results, output, start, stop)
            parts += (self.replies.opened(output, shape, _DATA), text, _END)
        if len(parts) == 1:  # only optional outputs were asked for, and the run gave none
            return self.head + b"]}", NO_HEADER
        parts[-1] = b"]}]}"
        return b"".join(parts), NO_HEADER

    def text(
        self, results: Results, output: int, start: int, stop: int
    ) -> tuple[bytes, tuple[int, ...]]:
        """See :meth:`serving.call.Results.text`. Refuses bytes that JSON cannot carry."""
        try:
            return results.text(output, start, stop)
        except UnicodeEncodeError:
            name = self.replies.signature.outputs[output].name
            raise invalid(
                f"output {name!r} has bytes that are not UTF-8, which JSON cannot carry: "
                "request it with the parameter binary_data"
            ) from None


class BinaryEncoder(V2Encoder):
    """A reply with at least one output after the JSON part, exact in every bit."""

    __slots__ = ()

    def encode(self, results: Results, start: int, stop: int) -> tuple[bytes, int]:
        """See :class:`serving.call.Encoder`."""
        parts, tail = [self.head], []
        for output, binary in self.wanted:
            if results.arrays[output] is None:
                continue
            if binary:
                array = results.array(output, start, stop)
                data = to_binary(array)
                tail.append(data)
                opened = self.replies.opened(output, array.shape, _SIZE)
                parts += (opened, b"%d}}," % len(data))
            else:
                text, shape = self.text(results, output, start, stop)
                parts += (self.replies.opened(output, shape, _DATA), text, _END)
        header = b"".join(parts).removesuffix(b",") + b"]}"
        return b"".join((header, *tail)), len(header)


def to_binary(array: Array) -> bytes:
    """An array as the extension has it: little-endian, row-major, strings length-prefixed."""
    if array.dtype.kind != "O":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    parts: list[bytes] = []
    for text in array.reshape(-1).tolist():
        data = text.encode("utf-8", ESCAPED) if isinstance(text, str) else bytes(text)
        parts += (pack("<I", len(data)), data)
    return b"".join(parts)
