"""Split thresholds of LightGBM, which compares doubles, in graphs of floats and of doubles."""

from typing import Any

import numpy as np
from onnx import numpy_helper

from tollway.conversion.converters.builder import Nodes
from tollway.conversion.converters.hist_gradient_boosting import float_threshold
from tollway.conversion.foreign import Foreign

DOUBLES = ("nodes_values", "class_weights", "target_weights", "base_values")


class ExactThresholds:
    """A container that writes tree nodes so that they split as the original's doubles do.

    With float inputs a threshold becomes the float32 that splits all float32 values alike; with
    double inputs it stays a double.
    """

    def __init__(self, container: Foreign, *, double: bool) -> None:
        self._container = container
        self._double = double

    def __getattr__(self, name: str) -> Foreign:
        return getattr(self._container, name)

    def add_node(self, op_type: str, *args: Foreign, **attributes: Foreign) -> None:
        """The node with its thresholds made exact, if it is an ensemble of trees."""
        if op_type.startswith("TreeEnsemble"):
            attributes = self._exact(attributes)
        self._container.add_node(op_type, *args, **attributes)

    def _exact(self, attributes: dict[str, Any]) -> dict[str, Any]:
        if not self._double:
            pairs = zip(attributes["nodes_modes"], attributes["nodes_values"], strict=True)
            attributes["nodes_values"] = [
                float_threshold(float(value)) if mode == "BRANCH_LEQ" else float(value)
                for mode, value in pairs
            ]
            return attributes
        for key in DOUBLES:
            if key in attributes:
                values = np.asarray(attributes.pop(key), dtype=np.float64)
                attributes[f"{key}_as_tensor"] = numpy_helper.from_array(values)
        hitrates = attributes.pop("nodes_hitrates", None)
        if hitrates is not None:
            tensor = numpy_helper.from_array(np.asarray(hitrates, dtype=np.float64))
            attributes["nodes_hitrates_as_tensor"] = tensor
        return attributes


def convert_lightgbm(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """onnxmltools' converter, writing through :class:`ExactThresholds`."""
    from onnxmltools.convert.lightgbm.operator_converters import LightGbm  # noqa: PLC0415

    double = Nodes(scope, operator, container).double
    LightGbm.convert_lightgbm(scope, operator, ExactThresholds(container, double=double))
