"""Which outputs of a graph are sums of functions of single inputs: linear models, and others in
which no two inputs interact.

Each tensor is followed through the graph as which input elements its own depend on, and whether it
is a sum over them. What is not known to keep a sum does not: an unknown operator's results depend
on everything that goes in, and are a sum only where that is one element. Rows are taken as
independent, and runs as repeatable; engines find out at their warm-up and with every explanation.
"""

from collections.abc import Callable, Iterable
from typing import Final, Literal, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper

from protocol.manifest import Additive

Place = tuple[str, int]
"""An input, and an element of its rows."""
Link = Literal["", "logistic", "softmax"]

_DOMAINS: Final = {"": "", "ai.onnx": "", "ai.onnx.ml": "ml:"}
_FLOATS: Final = frozenset(
    {onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16}
)
_RANDOM: Final = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial",
     "Bernoulli", "Dropout"}
)  # fmt: skip
_ELEMENTWISE: Final = frozenset(
    {"Abs", "And", "Ceil", "Clip", "Equal", "Erf", "Exp", "Floor", "Greater", "GreaterOrEqual",
     "IsInf", "IsNaN", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Not", "Or", "Pow",
     "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sqrt", "Tanh", "Where", "Xor",
     "ml:Binarizer", "ml:Imputer", "ml:LabelEncoder"}
)  # fmt: skip
_PLACING: Final = frozenset(
    {"Expand", "Flatten", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
"""Each element of what they give is one that goes in."""
_ROW_DIMENSIONS: Final = 2


class Element(NamedTuple):
    """What one element of a tensor's rows depends on, and whether it is a sum over that."""

    places: frozenset[Place]
    additive: bool


class Value(NamedTuple):
    """A tensor: its rows' elements in order, or, ``alike``, one that stands for all of them."""

    elements: tuple[Element, ...]
    alike: bool
    link: Link = ""
    """Of what is no sum: what makes one of it."""

    @property
    def constant(self) -> bool:
        """Whether no input has a part in it."""
        return all(not element.places for element in self.elements)


_CONSTANT: Final = Value((Element(frozenset(), True),), True)


def additive_outputs(model: onnx.ModelProto) -> tuple[Additive, ...]:
    """The outputs that are sums, in their order; none where the graph says too little."""
    graph = model.graph
    if model.functions or any(_opaque(node) for node in graph.node):
        return ()
    known = {tensor.name: _CONSTANT for tensor in graph.initializer}
    known |= {tensor.values.name: _CONSTANT for tensor in graph.sparse_initializer}
    for value in graph.input:
        if value.name not in known:
            found = _input(value)
            if found is None:
                return ()
            known[value.name] = found
    walk = _Walk(known, {tensor.name: tensor for tensor in graph.initializer})
    for node in graph.node:
        walk.step(node)
    return tuple(additive for output in graph.output if (additive := walk.judged(output)))


def _opaque(node: onnx.NodeProto) -> bool:
    return node.op_type in _RANDOM or any(a.HasField("g") or a.graphs for a in node.attribute)


def _input(value: onnx.ValueInfoProto) -> Value | None:
    """Rows of single values, or of a known number; None for anything else."""
    sizes = [
        dimension.dim_value if dimension.HasField("dim_value") else -1
        for dimension in value.type.tensor_type.shape.dim
    ]
    if len(sizes) > _ROW_DIMENSIONS or not sizes or (sizes[1:] and sizes[1] < 1):
        return None
    width = sizes[1] if sizes[1:] else 1
    return Value(tuple(_single((value.name, place)) for place in range(width)), False)


def _single(place: Place) -> Element:
    return Element(frozenset({place}), True)


def _union(elements: Iterable[Element], *, linear: bool) -> Element:
    """What depends on all of ``elements``; ``linear``: as their weighted sum."""
    parts = list(elements)
    if len(parts) == 1:
        places = parts[0].places
    else:
        places = frozenset().union(*(element.places for element in parts))
    sums = linear and all(element.additive for element in parts)
    return Element(places, sums or len(places) <= 1)


def _mixed(values: Iterable[Value], *, linear: bool) -> Value:
    """A tensor each of whose elements may depend on every element of ``values``."""
    return Value((_union((e for v in values for e in v.elements), linear=linear),), True)


def _paired(values: list[Value], *, linear: bool) -> Value:
    """What an operator makes of elements that stand at the same place, broadcast as ONNX does."""
    widths = {len(value.elements) for value in values if not value.alike}
    width = max(widths, default=1)
    variable = [value for value in values if not value.constant]
    if width == 1 or not widths <= {1, width} or any(value.alike for value in variable):
        return _mixed(values, linear=linear)
    rows = [
        value.elements if len(value.elements) == width else value.elements * width
        for value in variable
    ]
    return Value(tuple(_union(place, linear=linear) for place in zip(*rows, strict=True)), False)


class _Walk:
    """Follows values through the nodes, which ONNX has in order."""

    def __init__(self, known: dict[str, Value], tensors: dict[str, onnx.TensorProto]) -> None:
        self._known = known
        self._tensors = tensors

    def step(self, node: onnx.NodeProto) -> None:
        """Say what a node gives."""
        values = [self._known[name] for name in node.input if name]
        operator = f"{_DOMAINS.get(node.domain, 'other:')}{node.op_type}"
        if operator == "Constant":
            self._constant(node)
            return
        if all(value.constant for value in values):
            found = _CONSTANT
        elif operator == "ml:LinearClassifier":
            self._classifier(node, values[0])
            return
        elif rule := _RULES.get(operator):
            found = rule(self, node, values)
        elif operator in _ELEMENTWISE:
            found = _paired(values, linear=False)
        else:
            found = _mixed(values, linear=False)
        for name in node.output:
            self._known[name] = found

    def judged(self, output: onnx.ValueInfoProto) -> Additive | None:
        """How an output is a sum; None where it is not known to be one."""
        kind = output.type.tensor_type
        value = self._known.get(output.name)
        if value is None or value.constant or kind.elem_type not in _FLOATS:
            return None
        if value.link:
            classes = kind.shape.dim[-1].dim_value if len(kind.shape.dim) == _TWO else 0
            return Additive(output=output.name, link=value.link) if classes >= _TWO else None
        if all(element.additive for element in value.elements):
            return Additive(output=output.name)
        return None

    def _constant(self, node: onnx.NodeProto) -> None:
        self._known[node.output[0]] = _CONSTANT
        for attribute in node.attribute:
            if attribute.name == "value":
                self._tensors[node.output[0]] = attribute.t

    def _classifier(self, node: onnx.NodeProto, rows: Value) -> None:
        """LinearClassifier: labels, and scores that may be under a link."""
        labels = _mixed([rows], linear=False)
        scores = _mixed([rows], linear=True)
        transform = _attribute(node, "post_transform", b"NONE")
        if transform == b"SOFTMAX" and scores.elements[0].additive:
            scores = labels._replace(link="softmax")
        elif transform == b"LOGISTIC" and scores.elements[0].additive and _opposite(node):
            scores = labels._replace(link="logistic")
        elif transform != b"NONE":
            scores = labels
        for name, value in zip(node.output, (labels, scores), strict=False):
            self._known[name] = value

    def numbers(self, name: str) -> list[int] | None:
        """The integers of a constant list; None where they are not known."""
        tensor = self._tensors.get(name)
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        array = numpy_helper.to_array(tensor)
        flat = array.size == max(array.shape, default=1)
        return array.ravel().tolist() if array.dtype.kind in "iu" and flat else None


_Rule = Callable[[_Walk, onnx.NodeProto, list[Value]], Value]
_TWO: Final = 2


def _attribute(node: onnx.NodeProto, name: str, default: object) -> object:
    for attribute in node.attribute:
        if attribute.name == name:
            return onnx.helper.get_attribute_value(attribute)
    return default


def _opposite(node: onnx.NodeProto) -> bool:
    """Whether there are two classes, and one's score is the other's with its sign turned."""
    weights = np.array(_attribute(node, "coefficients", []), np.float64)
    offsets = np.array(_attribute(node, "intercepts", []), np.float64)
    if offsets.size != _TWO or weights.size % _TWO:
        return False
    half = weights.size // _TWO
    return bool((weights[:half] == -weights[half:]).all() and offsets[0] == -offsets[1])


def _sum(_walk: _Walk, _node: onnx.NodeProto, values: list[Value]) -> Value:
    return _paired(values, linear=True)


def _same(_walk: _Walk, _node: onnx.NodeProto, values: list[Value]) -> Value:
    return values[0]


def _turned(_walk: _Walk, _node: onnx.NodeProto, values: list[Value]) -> Value:
    """Neg and Scaler: sums stay sums, but what was under a link is no longer."""
    return values[0]._replace(link="")


def _cast(_walk: _Walk, node: onnx.NodeProto, values: list[Value]) -> Value:
    return values[0] if _attribute(node, "to", 0) in _FLOATS else _paired(values, linear=False)


def _scaled(_walk: _Walk, _node: onnx.NodeProto, values: list[Value]) -> Value:
    """Mul: a sum times a constant is a sum."""
    variable = sum(not value.constant for value in values)
    return _paired(values, linear=variable == 1)


def _divided(_walk: _Walk, _node: onnx.NodeProto, values: list[Value]) -> Value:
    return _paired(values, linear=values[1].constant)


def _weighted(_walk: _Walk, node: onnx.NodeProto, values: list[Value]) -> Value:
    """MatMul and Gemm by constant weights; by others, a product."""
    plain = not _attribute(node, "transA", 0)
    return _mixed(values, linear=plain and all(value.constant for value in values[1:]))


def _regressor(_walk: _Walk, node: onnx.NodeProto, values: list[Value]) -> Value:
    return _mixed(values, linear=_attribute(node, "post_transform", b"NONE") == b"NONE")


def _reshaped(_walk: _Walk, _node: onnx.NodeProto, values: list[Value]) -> Value:
    """Each element is one of the old ones, perhaps at another place."""
    return _mixed(values, linear=all(value.constant for value in values[1:]))


def _summed(_walk: _Walk, _node: onnx.NodeProto, values: list[Value]) -> Value:
    return _mixed(values, linear=all(value.constant for value in values[1:]))


def _joined(_walk: _Walk, node: onnx.NodeProto, values: list[Value]) -> Value:
    along_rows = _attribute(node, "axis", 1) in (1, -1)
    if not along_rows or any(value.alike for value in values):
        return _mixed(values, linear=True)
    return Value(tuple(element for value in values for element in value.elements), False)


def _chosen(walk: _Walk, node: onnx.NodeProto, values: list[Value]) -> Value:
    """Gather and ArrayFeatureExtractor: some of the elements."""
    if not values[1].constant:
        return _mixed(values, linear=False)
    along_rows = node.op_type == "ArrayFeatureExtractor" or _attribute(node, "axis", 0) in (1, -1)
    places = walk.numbers(node.input[1])
    elements = values[0].elements
    if values[0].alike or not along_rows or not places:
        return _mixed(values[:1], linear=True)
    if any(not -len(elements) <= place < len(elements) for place in places):
        return _mixed(values[:1], linear=True)  # the runtime will refuse it
    return Value(tuple(elements[place] for place in places), False)


def _normalised(_walk: _Walk, node: onnx.NodeProto, values: list[Value]) -> Value:
    """Probabilities that add up to one are what they were."""
    by_sum = _attribute(node, "norm", b"MAX") == b"L1" or _attribute(node, "p", 2) == 1
    along_rows = _attribute(node, "axis", -1) in (1, -1)
    return values[0] if values[0].link and by_sum and along_rows else _mixed(values, linear=False)


def _softmax(_walk: _Walk, node: onnx.NodeProto, values: list[Value]) -> Value:
    found = _mixed(values, linear=False)
    sums = all(element.additive for element in values[0].elements)
    along_rows = _attribute(node, "axis", -1) in (1, -1)
    return found._replace(link="softmax") if sums and along_rows else found


_RULES: Final[dict[str, _Rule]] = {
    "Add": _sum,
    "Sub": _sum,
    "Sum": _sum,
    "Neg": _turned,
    "Identity": _same,
    "Cast": _cast,
    "Mul": _scaled,
    "Div": _divided,
    "MatMul": _weighted,
    "Gemm": _weighted,
    "ReduceSum": _summed,
    "ReduceMean": _summed,
    "Concat": _joined,
    "Gather": _chosen,
    "Softmax": _softmax,
    "LpNormalization": _normalised,
    "ml:ArrayFeatureExtractor": _chosen,
    "ml:FeatureVectorizer": _reshaped,
    "ml:LinearRegressor": _regressor,
    "ml:Normalizer": _normalised,
    "ml:Scaler": _turned,
    **dict.fromkeys(_PLACING, _reshaped),
}
