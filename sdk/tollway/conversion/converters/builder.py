"""Write ONNX nodes from a converter without repeating skl2onnx's bookkeeping.

skl2onnx has no types of its own, so its scope, operator and container appear here as ``Any``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, numpy_helper
from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common.data_types import (
    DoubleTensorType,
    FloatTensorType,
    StringTensorType,
)

from tollway.conversion.foreign import Estimator, Foreign

ML = "ai.onnx.ml"


class Nodes:
    """Adds nodes and constants to the graph of one operator and names their results."""

    def __init__(
        self, scope: Foreign, operator: Foreign, container: Foreign, *, double: bool | None = None
    ) -> None:
        self.scope = scope
        self.operator = operator
        self.container = container
        if double is None:
            double = any(isinstance(i.type, DoubleTensorType) for i in operator.inputs)
        self.double = double
        self.dtype: type[np.float32] | type[np.float64] = np.float64 if self.double else np.float32
        self.real: int = TensorProto.DOUBLE if self.double else TensorProto.FLOAT

    def const(self, value: npt.NDArray[Any], name: str = "const") -> str:
        """A constant tensor; strings as an object array."""
        unique: str = self.scope.get_unique_variable_name(name)
        self.container.initializers.append(numpy_helper.from_array(value, name=unique))
        return unique

    def reals(self, values: object) -> str:
        """A constant of the operator's floating-point type."""
        return self.const(np.asarray(values, dtype=self.dtype))

    def add(
        self,
        op: str,
        inputs: list[str],
        output: str | None = None,
        domain: str = "",
        **attrs: Foreign,
    ) -> str:
        """One node with one output; the name of that output."""
        name: str = output or self.scope.get_unique_variable_name(op.lower())
        self.container.add_node(
            op,
            inputs,
            [name],
            op_domain=domain,
            name=self.scope.get_unique_operator_name(op),
            **attrs,
        )
        return name

    def cast(self, value: str, to: int, output: str | None = None) -> str:
        """``value`` as another element type."""
        return self.add("Cast", [value], output, to=to)

    def gather(self, value: str, positions: list[int], axis: int = 1) -> str:
        """Columns of ``value``."""
        index = self.const(np.asarray(positions, dtype=np.int64))
        return self.add("Gather", [value, index], axis=axis)

    def real_input(self) -> str:
        """All inputs side by side as one floating-point matrix."""
        parts = []
        for variable in self.operator.inputs:
            wanted = DoubleTensorType if self.double else FloatTensorType
            name = variable.full_name
            parts.append(name if isinstance(variable.type, wanted) else self.cast(name, self.real))
        return parts[0] if len(parts) == 1 else self.add("Concat", parts, axis=1)

    def columns(self) -> list[tuple[str, Any]]:
        """Every input column as an [N, 1] tensor, with its type."""
        columns = []
        for variable in self.operator.inputs:
            width = variable.get_second_dimension()
            if width == 1:
                columns.append((variable.full_name, variable.type))
                continue
            columns.extend(
                (self.gather(variable.full_name, [i]), variable.type) for i in range(width)
            )
        return columns

    def child(
        self, estimator: Estimator, inputs: list[Any], outputs: list[tuple[str, Any]]
    ) -> list[str]:
        """Convert ``estimator`` as a part of this operator; the names of its outputs."""
        part = self.scope.declare_local_operator(
            sklearn_operator_name_map[type(estimator)], estimator
        )
        part.inputs = inputs
        for name, kind in outputs:
            part.outputs.append(self.scope.declare_local_variable(name, kind))
        return [variable.full_name for variable in part.outputs]


def real_type(operator: Foreign) -> Foreign:
    """Double if any input is, float otherwise."""
    double = any(isinstance(i.type, DoubleTensorType) for i in operator.inputs)
    return DoubleTensorType if double else FloatTensorType


def is_text(kind: Foreign) -> bool:
    """Whether a variable's type is a tensor of strings."""
    return isinstance(kind, StringTensorType)
