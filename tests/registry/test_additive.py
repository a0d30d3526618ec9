"""Which outputs are found to be sums over single inputs, and which are not."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from protocol.manifest import Additive
from registry.additive import additive_outputs

ML = "ai.onnx.ml"
THREE = [0.5, -1.0, 2.0]


def node(operator: str, given: str, gives: str, *, domain: str = "", **attributes: Any) -> Any:
    return helper.make_node(operator, given.split(), gives.split(), domain=domain, **attributes)


def found(
    nodes: Sequence[Any],
    *,
    constants: dict[str, Any] | None = None,
    width: int | None = 3,
    classes: int | None = None,
    output: str = "y",
    element: int = TensorProto.FLOAT,
) -> str | None:
    """The link of the output ``y`` of a graph of ``x``, ``[-1, width]``; None: it is no sum."""
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width]),
            helper.make_tensor_value_info("t", TensorProto.STRING, [None, 1]),
        ],
        [helper.make_tensor_value_info(output, element, [None, classes or 1])],
        [
            numpy_helper.from_array(np.asarray(value), name)
            for name, value in (constants or {}).items()
        ],
    )
    model = helper.make_model(graph)
    answer = additive_outputs(model)
    return answer[0].link if answer else None


WEIGHTS = {"w": np.array([[0.5], [-1.0], [2.0]], np.float32), "c": np.array([1.0], np.float32)}
REGRESSOR = node("LinearRegressor", "x", "y", domain=ML, coefficients=THREE, intercepts=[1.0])


def classifier(transform: str, rows: int, *, opposite: bool = True) -> Any:
    weights = (THREE + [-w for w in THREE])[: 3 * rows] if opposite else THREE * rows
    weights = weights if rows <= 2 else THREE * rows
    return node(
        "LinearClassifier", "x", "label y", domain=ML, coefficients=weights,
        intercepts=[1.0, -1.0, 0.0][:rows], classlabels_ints=list(range(rows)),
        post_transform=transform,
    )  # fmt: skip


SUMS = {
    "a linear regressor": [REGRESSOR],
    "weights and an offset": [node("MatMul", "x w", "m"), node("Add", "m c", "y")],
    "a product with constants": [node("Gemm", "x w c", "y")],
    "a scaler before it": [
        node("Scaler", "x", "s", domain=ML, offset=[0.0], scale=[2.0]),
        node("MatMul", "s w", "y"),
    ],
    "a function of each element": [node("Sigmoid", "x", "s"), node("MatMul", "s w", "y")],
    "missing values replaced": [
        node("IsNaN", "x", "n"), node("Where", "n c x", "f"), node("MatMul", "f w", "y"),
    ],
    "elements taken apart and put together": [
        node("Gather", "x one", "a", axis=1), node("Exp", "a", "b"),
        node("Concat", "x b", "j", axis=1), node("ReduceSum", "j", "y"),
    ],
    "a text and numbers": [
        node("LabelEncoder", "t", "k", domain=ML, keys_strings=["a"], values_floats=[2.0]),
        node("MatMul", "x w", "m"), node("Add", "m k", "y"),
    ],
    "scores": [classifier("NONE", 2)],
    "divided by a constant": [node("Div", "x c", "d"), node("MatMul", "d w", "y")],
}  # fmt: skip

NONE = {
    "a product of two": [node("Mul", "x x", "p"), node("ReduceProd", "p", "y")],
    "a function of a sum": [node("MatMul", "x w", "m"), node("Relu", "m", "y")],
    "an unknown operator": [node("TopK", "x one", "y i")],
    "rows made of length one": [
        node("Normalizer", "x", "n", domain=ML), node("MatMul", "n w", "y"),
    ],
    "weights that depend on the row": [node("MatMul", "x x", "y")],
    "a divisor that depends on the row": [node("ReduceSum", "x", "s"), node("Div", "x s", "y")],
    "a whole number of a sum": [
        node("MatMul", "x w", "m"), node("Cast", "m", "i", to=TensorProto.INT64),
        node("Cast", "i", "y", to=TensorProto.FLOAT),
    ],
    "chance": [
        node("RandomUniformLike", "x", "r"), node("Add", "x r", "s"), node("MatMul", "s w", "y"),
    ],
    "trees": [node("TreeEnsembleRegressor", "x", "y", domain=ML)],
    "an operator of another domain": [node("Gemm", "x w c", "y", domain="com.example")],
    "probabilities of classes that are not opposite": [classifier("LOGISTIC", 2, opposite=False)],
    "probabilities of several that are not normalised": [classifier("LOGISTIC", 3)],
    "a function of probabilities": [classifier("SOFTMAX", 2), node("Neg", "y", "z")],
}  # fmt: skip


@pytest.mark.parametrize("name", SUMS)
def test_sums_are_found(name: str) -> None:
    assert found(SUMS[name], constants={**WEIGHTS, "one": np.array([1])}) == "identity"


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_sum_is_not_taken_for_one(name: str) -> None:
    output = "z" if name == "a function of probabilities" else "y"
    constants = {**WEIGHTS, "one": np.array([1])}
    assert found(NONE[name], constants=constants, classes=2, output=output) is None


def test_probabilities_are_sums_under_their_link() -> None:
    assert found([classifier("LOGISTIC", 2)], classes=2) == "logistic"
    assert found([classifier("SOFTMAX", 3)], classes=3) == "softmax"
    normalised = classifier("SOFTMAX", 3)
    normalised.output[1] = "p"
    again = node("Normalizer", "p", "y", domain=ML, norm="L1")
    assert found([normalised, again], classes=3) == "softmax"
    largest = node("Normalizer", "p", "y", domain=ML, norm="MAX")
    assert found([normalised, largest], classes=3) is None
    network = [node("MatMul", "x w", "m"), node("Softmax", "m", "y", axis=-1)]
    assert found(network, constants=WEIGHTS, classes=3) == "softmax"


def test_elements_of_which_not_enough_is_known_are_no_inputs_of_a_sum() -> None:
    assert found([node("ReduceSum", "x", "y")], width=None) is None


def test_whole_numbers_and_constants_are_no_sums() -> None:
    assert found([node("ArgMax", "x", "y", axis=1)], element=TensorProto.INT64) is None
    assert found([node("Identity", "c", "y")], constants=WEIGHTS) is None


def test_graphs_within_graphs_say_too_little() -> None:
    inner = helper.make_graph(
        [node("Identity", "x", "o")],
        "inner",
        [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, [None, 3])],
    )
    both = helper.make_node("If", ["b"], ["i"], then_branch=inner, else_branch=inner)
    constants = {"b": np.array(True)}
    assert found([both, REGRESSOR], constants=constants) is None
    assert found([REGRESSOR]) == "identity"


def test_outputs_are_judged_one_by_one() -> None:
    graph = helper.make_graph(
        [REGRESSOR, node("ReduceMax", "x", "z")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in "zy"],
    )
    assert additive_outputs(onnx.helper.make_model(graph)) == (Additive(output="y"),)
