"""ONNX Runtime, imported nowhere else: sessions sized for many small engines on few cores."""

import ctypes
import os
import re
import shutil
import weakref
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import onnxruntime as ort  # type: ignore[import-untyped]

from protocol.datatypes import ONNX_ELEMENT_TYPES
from protocol.errors import Code, TollwayError
from protocol.receipts import EngineRuntime
from runtime.machine import processor
from serving.byte_session import ByteSession, ByteSessionError
from serving.signature import Signature
from serving.tensors import Array

_BF16: Final = 16
_PROVIDER: Final = "CPUExecutionProvider"
_FATAL_ONLY: Final = 4
_STATUS: Final = re.compile(r"Status Message: (.*)", re.DOTALL)
_PLACE: Final = re.compile(r"^\S+\.(?:h|cc|cpp):\d+ \S+ ")
"""``concatbase.h:135 PrepareForComputeImpl``, before what is wrong."""
_SHOWN_REASON: Final = 200
_LIBRARY: Final = "libonnxruntime.*"
"""The runtime as a C library, in the wheel beside the Python module."""
_ONNX_NAMES: Final = {
    "float": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "string": 8,
    "bool": 9, "float16": 10, "double": 11, "uint32": 12, "uint64": 13, "bfloat16": 16,
}  # fmt: skip


class LoadError(Exception):
    """The artifact does not make a session, or not the one that its manifest describes."""


def runtime_of(threads: int, software: str) -> EngineRuntime:
    """What runs graphs here, with so many threads, in this release of Tollway."""
    return EngineRuntime(
        name="onnxruntime",
        version=ort.__version__,
        provider=_PROVIDER,
        threads=threads,
        processor=processor(),
        software=software,
    )


class Session:
    """One loaded graph. ``run`` may be called from one thread at a time."""

    def __init__(self, path: Path, signature: Signature, threads: int = 1) -> None:
        """Load ``path`` with ``threads`` intra-op threads. Raises :class:`LoadError`."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # An idle engine must cost nothing, and the arena never gives memory back.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.enable_cpu_mem_arena = False
        options.log_severity_level = (
            _FATAL_ONLY  # a failed run is the client's error, not a log line
        )
        try:
            self._session = ort.InferenceSession(path, options, providers=[_PROVIDER])
        except Exception as error:
            raise LoadError(f"the runtime does not load the model: {_reason(error)}") from error
        self._names = [spec.name for spec in signature.inputs]
        self._outputs = [spec.name for spec in signature.outputs]
        self._check(signature)
        self._bf16_inputs = [s.name for s in signature.inputs if s.datatype == "BF16"]
        self._bf16_outputs = any(spec.datatype == "BF16" for spec in signature.outputs)
        self._options = ort.RunOptions()
        self._options.log_severity_level = _FATAL_ONLY
        self._signature, self._threads = signature, threads
        self._bytes: ByteSession | None = None
        self._files: _Files | None = None
        if any(spec.datatype == "BYTES" for spec in (*signature.inputs, *signature.outputs)):
            self._files = _Files(path)

    def _check(self, signature: Signature) -> None:
        for what, declared, actual in (
            (
                "input",
                signature.inputs,
                # What has a default in the graph may be given, and counts as no input there.
                [*self._session.get_inputs(), *self._session.get_overridable_initializers()],
            ),
            ("output", signature.outputs, self._session.get_outputs()),
        ):
            types = {port.name: _datatype(port.type) for port in actual}
            for spec in declared:
                if types.get(spec.name) != spec.datatype:
                    raise LoadError(
                        f"{what} {spec.name!r} is {spec.datatype} in the manifest, "
                        f"{types.get(spec.name, 'missing')} in the graph"
                    )

    def run(self, feeds: list[Array | None]) -> list[Array | None]:
        """Outputs for ``feeds``, both in the signature's order; an optional one may be None.

        Raises ``INFERENCE_FAILED`` when the graph refuses the values.
        """
        named: dict[str, Array | ort.OrtValue] = {
            name: feed for name, feed in zip(self._names, feeds, strict=True) if feed is not None
        }
        try:
            for name in self._bf16_inputs:
                if name in named:
                    named[name] = _bf16(named[name])
            if self._bf16_outputs:
                return self._run_bf16(named)
            outputs: list[Array | None] = self._session.run(self._outputs, named, self._options)
            return outputs
        except UnicodeError:
            return self._run_bytes(feeds)
        except Exception as error:
            raise TollwayError(
                Code.INFERENCE_FAILED,
                f"the model failed on this input: {_reason(error)}",
                repr(error),
            ) from error

    def _run_bytes(self, feeds: list[Array | None]) -> list[Array | None]:
        """A run with strings, given or made, that are not UTF-8."""
        try:
            if self._bytes is None:
                assert self._files is not None, "only graphs with strings come here"
                library = next(Path(ort.__file__).with_name("capi").glob(_LIBRARY))
                with TemporaryDirectory(prefix="tollway-") as folder:
                    self._bytes = ByteSession(
                        library,
                        self._files.copy(Path(folder)),
                        self._signature.inputs,
                        self._signature.outputs,
                        self._threads,
                    )
            return self._bytes.run(feeds)
        except ByteSessionError as error:
            raise TollwayError(
                Code.INFERENCE_FAILED,
                f"the model failed on this input: {_reason(error)}",
                repr(error),
            ) from error

    def _run_bf16(self, named: dict[str, Array | ort.OrtValue]) -> list[Array | None]:
        """The runtime gives BF16 in values of its own only, and takes no strings in those."""
        values = {
            name: ort.OrtValue.ortvalue_from_numpy(feed) if isinstance(feed, np.ndarray) else feed
            for name, feed in named.items()
        }
        return [
            _array(value)
            for value in self._session.run_with_ort_values(self._outputs, values, self._options)
        ]


class _Files:
    """What a graph was loaded from, open: its folder is removed once it was loaded."""

    def __init__(self, path: Path) -> None:
        self._artifact = path.name
        self._open = {
            file.relative_to(path.parent): os.open(file, os.O_RDONLY)
            for file in path.parent.rglob("*")
            if file.is_file()
        }
        weakref.finalize(self, _close, list(self._open.values()))

    def copy(self, folder: Path) -> Path:
        """Write it all into ``folder``, and tell where the graph is there."""
        for name, descriptor in self._open.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (
                os.fdopen(os.dup(descriptor), "rb") as source,
                (folder / name).open("xb") as target,
            ):
                source.seek(0)
                shutil.copyfileobj(source, target)
        return folder / self._artifact


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _bf16(bits: Array) -> ort.OrtValue:
    """BF16 has no numpy type: its 16 bits go in and out as they are."""
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(np.asarray(bits, order="C"), _BF16)


def _array(value: ort.OrtValue) -> Array | None:
    # First of all: asking an absent optional for its type crashes the process.
    if not value.has_value():
        return None
    if value.element_type() != _BF16:
        array: Array = value.numpy()
        return array
    shape = value.shape()
    if 0 in shape:
        return np.empty(shape, np.uint16)
    count = int(np.prod(shape, dtype=np.int64))
    pointer = ctypes.cast(value.data_ptr(), ctypes.POINTER(ctypes.c_uint16))
    return np.ctypeslib.as_array(pointer, (count,)).copy().reshape(shape)


def _datatype(onnx_type: str) -> str:
    """``tensor(float)`` -> ``FP32``; what is no tensor stays as ONNX Runtime spells it."""
    inner = onnx_type.removeprefix("optional(").removeprefix("tensor(").rstrip(")")
    return ONNX_ELEMENT_TYPES.get(_ONNX_NAMES.get(inner, 0), onnx_type)


def _reason(error: Exception) -> str:
    """What the runtime says is wrong, without the places in its source that it names as well."""
    text = str(error)
    found = _STATUS.search(text)
    text = found.group(1) if found else text.rsplit(" : ", maxsplit=1)[-1]
    if "/onnxruntime" in text:
        text = (
            text.rsplit("was false. ", 1)[-1] if "was false. " in text else "internal check failed"
        )
    return " ".join(_PLACE.sub("", text).split())[:_SHOWN_REASON]
