# mypy: disable-error-code="import-untyped, import-not-found, misc, untyped-decorator"
"""BentoML with adaptive batching over ONNX Runtime. The graph is the file ``BENCH_MODEL``.

Run: ``BENCH_MODEL=MODEL.onnx bentoml serve bentoml_service:Model --port 8100``
"""

import os
from typing import Annotated

import bentoml
import numpy as np
import onnxruntime as ort
from bentoml.validators import DType


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 512})
class Model:
    """One session.

    BentoML reads the annotations' classes: a parametrised array type is none to it.

    ``POST /infer`` with ``{"rows": [[...], ...]}`` gives the probabilities."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    @bentoml.api(batchable=True, max_batch_size=1024, max_latency_ms=1000)
    def infer(
        self,
        rows: Annotated[np.ndarray, DType("float32")],
    ) -> np.ndarray:
        """Probabilities of the rows: a batched answer has one array."""
        probabilities: np.ndarray = self._session.run(["probabilities"], {self._input: rows})[0]
        return probabilities
