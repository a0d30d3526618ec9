"""Runs of graphs on strings that are no text, over the C API of ONNX Runtime.

ONNX Runtime's strings are bytes, but its Python interface gives and takes them as text and fails
on those that are not UTF-8. The wheel has the same runtime as a C library, whose interface is
stable: a function keeps its place in the table for ever. It is a runtime of its own, loaded into
an engine with its graph when the first such request comes: both are there twice from then on.

Strings are ``str`` here as everywhere; a byte that is no part of UTF-8 text is a surrogate, as
PEP 383 has it, so that what came is what leaves.
"""

import ctypes
import itertools
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Final

import numpy as np

from protocol.datatypes import ONNX_ELEMENT_TYPES
from serving.tensors import Array, TensorSpec

ESCAPED: Final = "surrogateescape"
"""How bytes that are not UTF-8 are in a ``str``."""

_API_VERSION: Final = 15
_ELEMENT_TYPES: Final = {name: number for number, name in ONNX_ELEMENT_TYPES.items()}
_FATAL_ONLY: Final = 4
_DEVICE_ALLOCATOR, _DEFAULT_MEMORY = 0, 0
_PLACES: Final = {
    "GetErrorMessage": 2, "CreateEnv": 3, "CreateSession": 7, "Run": 9, "CreateSessionOptions": 10,
    "DisableCpuMemArena": 19, "SetSessionLogSeverityLevel": 22, "SetIntraOpNumThreads": 24,
    "SetInterOpNumThreads": 25, "CreateTensorAsOrtValue": 48, "CreateTensorWithDataAsOrtValue": 49,
    "GetTensorMutableData": 51, "FillStringTensor": 52, "GetStringTensorDataLength": 53,
    "GetStringTensorContent": 54, "GetDimensionsCount": 61, "GetDimensions": 62,
    "GetTensorTypeAndShape": 65, "CreateCpuMemoryInfo": 69, "GetAllocatorWithDefaultOptions": 78,
    "ReleaseEnv": 92, "ReleaseStatus": 93, "ReleaseMemoryInfo": 94, "ReleaseSession": 95,
    "ReleaseValue": 96, "ReleaseTensorTypeAndShapeInfo": 99, "ReleaseSessionOptions": 100,
    "AddSessionConfigEntry": 130, "HasValue": 192, "GetResizedStringTensorElementBuffer": 252,
}  # fmt: skip
"""Where the table of ``onnxruntime_c_api.h`` has a function."""


class ByteSessionError(Exception):
    """The runtime refuses a graph or a run; its message says why."""


class _Base(ctypes.Structure):
    """``OrtApiBase``."""

    _fields_ = [
        ("get_api", ctypes.CFUNCTYPE(POINTER(c_void_p), ctypes.c_uint32)),
        ("get_version", ctypes.CFUNCTYPE(c_char_p)),
    ]


class _Api:
    """The functions of the table, called by name; what they report as failed is raised."""

    def __init__(self, library: Path) -> None:
        base = ctypes.CDLL(str(library)).OrtGetApiBase
        base.restype = POINTER(_Base)
        table = base().contents.get_api(_API_VERSION)
        if not table:
            raise ByteSessionError(
                f"{library.name} does not have version {_API_VERSION} of its API"
            )
        releases = {name for name in _PLACES if name.startswith("Release")}
        call = ctypes.CFUNCTYPE(c_void_p)
        self._functions = {
            name: (
                ctypes.CFUNCTYPE(None, c_void_p)(table[place])
                if name in releases
                else ctypes.cast(table[place], call)
            )
            for name, place in _PLACES.items()
        }
        message = ctypes.CFUNCTYPE(c_char_p, c_void_p)
        self._message = message(table[_PLACES["GetErrorMessage"]])

    def call(self, name: str, *arguments: object) -> None:
        """Call a function that returns a status."""
        status = self._functions[name](*arguments)
        if status:
            text = self._message(c_void_p(status)).decode("utf-8", "replace")
            self.release("ReleaseStatus", c_void_p(status))
            raise ByteSessionError(text)

    def made(self, name: str, *arguments: object) -> c_void_p:
        """What a function makes, which it hands out by its last argument."""
        made = c_void_p()
        self.call(name, *arguments, byref(made))
        return made

    def release(self, name: str, what: c_void_p) -> None:
        """Give back what was made; nothing is fine."""
        if what:
            self._functions[name](what)


class ByteSession:
    """One graph. ``run`` may be called from one thread at a time."""

    def __init__(
        self,
        library: Path,
        path: Path,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        threads: int,
    ) -> None:
        """Load ``path``, which may be removed afterwards. Raises :class:`ByteSessionError` and
        ``OSError``."""
        self._inputs, self._outputs = inputs, outputs
        api = self._api = _Api(library)
        self._session = c_void_p()
        # Of a process's environments there is one, however often it is asked for.
        self._environment = api.made("CreateEnv", c_int(_FATAL_ONLY), b"tollway")
        options = api.made("CreateSessionOptions")
        try:
            api.call("SetIntraOpNumThreads", options, c_int(threads))
            api.call("SetInterOpNumThreads", options, c_int(1))
            api.call("DisableCpuMemArena", options)
            api.call("SetSessionLogSeverityLevel", options, c_int(_FATAL_ONLY))
            for pool in (b"session.intra_op.allow_spinning", b"session.inter_op.allow_spinning"):
                api.call("AddSessionConfigEntry", options, pool, b"0")
            self._session = api.made("CreateSession", self._environment, bytes(path), options)
        finally:
            api.release("ReleaseSessionOptions", options)
        self._memory = api.made(
            "CreateCpuMemoryInfo", c_int(_DEVICE_ALLOCATOR), c_int(_DEFAULT_MEMORY)
        )
        self._allocator = api.made("GetAllocatorWithDefaultOptions")

    def run(self, feeds: list[Array | None]) -> list[Array | None]:
        """Outputs for ``feeds``, both in the signature's order; an optional one may be None.

        Raises :class:`ByteSessionError` when the graph refuses the values.
        """
        api = self._api
        given = [
            (spec, feed) for spec, feed in zip(self._inputs, feeds, strict=True) if feed is not None
        ]
        values = (c_void_p * len(given))()
        answers = (c_void_p * len(self._outputs))()
        kept: list[Array] = []
        try:
            for index, (spec, feed) in enumerate(given):
                values[index] = self._value(spec, feed, kept).value
            api.call(
                "Run",
                self._session,
                None,
                (c_char_p * len(given))(*(spec.name.encode() for spec, _ in given)),
                values,
                c_size_t(len(given)),
                (c_char_p * len(answers))(*(spec.name.encode() for spec in self._outputs)),
                c_size_t(len(answers)),
                answers,
            )
            return [
                self._array(spec, c_void_p(answer))
                for spec, answer in zip(self._outputs, answers, strict=True)
            ]
        finally:
            for value in (*values, *answers):
                api.release("ReleaseValue", c_void_p(value))

    def _value(self, spec: TensorSpec, feed: Array, kept: list[Array]) -> c_void_p:
        """A feed as the runtime's value. A view of numbers: ``kept`` holds what it looks at."""
        shape = (c_int64 * feed.ndim)(*feed.shape)
        place = (shape, c_size_t(feed.ndim), c_int(_ELEMENT_TYPES[spec.datatype]))
        if spec.datatype != "BYTES":
            array = np.ascontiguousarray(feed)
            kept.append(array)
            data = c_void_p(array.ctypes.data)
            return self._api.made(
                "CreateTensorWithDataAsOrtValue", self._memory, data, c_size_t(array.nbytes), *place
            )
        value = self._api.made("CreateTensorAsOrtValue", self._allocator, *place)
        try:
            self._fill(value, [text.encode("utf-8", ESCAPED) for text in feed.reshape(-1).tolist()])
        except BaseException:
            self._api.release("ReleaseValue", value)
            raise
        return value

    def _fill(self, value: c_void_p, strings: list[bytes]) -> None:
        self._api.call(
            "FillStringTensor", value, (c_char_p * len(strings))(*strings), c_size_t(len(strings))
        )
        for index, string in enumerate(strings):
            if b"\0" in string:  # where the others end
                size = c_size_t(len(string))
                buffer = self._api.made(
                    "GetResizedStringTensorElementBuffer", value, c_size_t(index), size
                )
                ctypes.memmove(buffer, string, len(string))

    def _array(self, spec: TensorSpec, value: c_void_p) -> Array | None:
        """A copy of an output; None for an optional one that the run did not give."""
        there = c_int(0)
        if value:
            self._api.call("HasValue", value, byref(there))
        if not there:
            return None
        shape = self._shape(value)
        count = int(np.prod(shape, dtype=np.int64))
        if spec.datatype == "BYTES":
            array = np.empty(count, object)
            array[:] = self._strings(value, count)
            return array.reshape(shape)
        numbers = np.empty(shape, spec.dtype)
        if count:
            data = self._api.made("GetTensorMutableData", value)
            ctypes.memmove(numbers.ctypes.data, data, numbers.nbytes)
        return numbers

    def _shape(self, value: c_void_p) -> tuple[int, ...]:
        info = self._api.made("GetTensorTypeAndShape", value)
        try:
            count = c_size_t()
            self._api.call("GetDimensionsCount", info, byref(count))
            shape = (c_int64 * count.value)()
            self._api.call("GetDimensions", info, shape, count)
            return tuple(shape)
        finally:
            self._api.release("ReleaseTensorTypeAndShapeInfo", info)

    def _strings(self, value: c_void_p, count: int) -> list[str]:
        if not count:
            return []
        size = c_size_t()
        self._api.call("GetStringTensorDataLength", value, byref(size))
        data = ctypes.create_string_buffer(size.value + 1)
        offsets = (c_size_t * count)()
        self._api.call("GetStringTensorContent", value, data, size, offsets, c_size_t(count))
        places = [*offsets, size.value]
        return [
            data.raw[start:stop].decode("utf-8", ESCAPED)
            for start, stop in itertools.pairwise(places)
        ]

    def __del__(self) -> None:
        """Give the graph's memory back."""
        api = getattr(self, "_api", None)
        if api is not None:
            api.release("ReleaseSession", self._session)
