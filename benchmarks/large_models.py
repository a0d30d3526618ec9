# mypy: disable-error-code="import-untyped"
"""Models that are large in one way each: bytes, or trees. Random, and every seed another digest."""

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COLUMNS: Final = 30
OPSETS: Final = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]


def dense(path: Path, *, megabytes: int, seed: int) -> None:
    """A dense net whose two square layers have ``megabytes`` together."""
    random = np.random.default_rng(seed)
    width = int((megabytes * 1e6 / 4 / 2) ** 0.5)
    shapes = {"first": (COLUMNS, width), "second": (width, width), "third": (width, width)}
    shapes["last"] = (width, 1)
    weights = [
        numpy_helper.from_array(random.standard_normal(shape, np.float32) / shape[0] ** 0.5, name)
        for name, shape in shapes.items()
    ]
    nodes, present = [], "input"
    for name in shapes:
        product = "score" if name == "last" else f"{name}_product"
        nodes.append(helper.make_node("MatMul", [present, name], [product]))
        if name != "last":
            present = f"{name}_positive"
            nodes.append(helper.make_node("Relu", [product], [present]))
    _save(path, nodes, weights)


def forest(path: Path, *, trees: int, depth: int, seed: int) -> None:
    """A regressor of ``trees`` full trees of ``depth``, with random columns and thresholds."""
    random = np.random.default_rng(seed)
    inner, nodes = 2**depth - 1, 2 ** (depth + 1) - 1
    ids = np.arange(nodes)
    branches = ids < inner
    leaves = trees * (nodes - inner)
    every = {
        "nodes_treeids": np.repeat(np.arange(trees), nodes),
        "nodes_nodeids": np.tile(ids, trees),
        "nodes_featureids": random.integers(0, COLUMNS, trees * nodes),
        "nodes_truenodeids": np.tile(np.where(branches, 2 * ids + 1, 0), trees),
        "nodes_falsenodeids": np.tile(np.where(branches, 2 * ids + 2, 0), trees),
        "target_treeids": np.repeat(np.arange(trees), nodes - inner),
        "target_nodeids": np.tile(ids[inner:], trees),
        "target_ids": np.zeros(leaves, np.int64),
    }
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["input"],
        ["score"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_modes=["BRANCH_LEQ" if branch else "LEAF" for branch in branches] * trees,
        nodes_values=random.random(trees * nodes, np.float32),
        target_weights=random.standard_normal(leaves, np.float32),
        **{name: values.tolist() for name, values in every.items()},
    )
    _save(path, [node], [])


def _save(path: Path, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> None:
    graph = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", COLUMNS])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows", 1])],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=OPSETS, ir_version=8), str(path))
