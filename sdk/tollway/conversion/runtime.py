"""Run a graph with ONNX Runtime as the server will: one thread, no arena."""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]

Array = npt.NDArray[Any]


class Session:
    """An ONNX Runtime session over bytes or a file; outputs come back by name."""

    def __init__(self, model: bytes | str | os.PathLike[str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        source = model if isinstance(model, bytes) else os.fspath(model)
        self._session = onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"]
        )
        self.output_names = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Every output by name. Raises ONNX Runtime's own errors."""
        values = self._session.run(None, inputs)
        if not all(isinstance(value, np.ndarray) for value in values):
            raise TypeError("the graph gives sequences or maps, which cannot be served as tensors")
        return dict(zip(self.output_names, values, strict=True))
