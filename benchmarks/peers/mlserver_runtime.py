# mypy: disable-error-code="import-untyped, import-not-found, misc"
"""A runtime for MLServer over ONNX Runtime, as its guide to custom runtimes shows.

MLServer finds it by ``"implementation": "mlserver_runtime.OnnxModel"`` in ``model-settings.json``.
"""

from typing import Any

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """One session; ``parameters.uri`` is the graph."""

    async def load(self) -> bool:
        """Load the graph."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        self._names = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the graph on the request's rows."""
        feeds = {given.name: NumpyCodec.decode_input(given) for given in payload.inputs}
        results: list[Any] = self._session.run(None, feeds)
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[
                NumpyCodec.encode_output(name, values)
                for name, values in zip(self._names, results, strict=True)
            ],
        )
