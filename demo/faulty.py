"""A version with a defect that tests on its own rows do not show, as they happen in life."""

import numpy as np
import onnx
import pandas as pd
from onnx import helper, numpy_helper

from demo.training import Trained
from tollway.conversion import convert

CHANGES = "Corrected by a table of ages, which was made from the patients up to 55."
LAST_AGE = 55


def with_a_short_table(model: Trained) -> onnx.ModelProto:
    """The model's graph, and a correction that it reads from a table by the patient's age: for who
    is older than the table's last line, the engine cannot answer."""
    graph = onnx.load_from_string(convert(model.estimator, model.X, background=0).onnx_bytes)
    [given], [answer] = graph.graph.input, graph.graph.output
    for node in graph.graph.node:
        for at, name in enumerate(node.output):
            if name == answer.name:
                node.output[at] = "uncorrected"
    ages = np.arange(LAST_AGE + 1)
    table = (np.cos(ages / 9.0) * 2.0).astype(np.float32)
    graph.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(0, np.int64), "age_column"),
            numpy_helper.from_array(table, "age_table"),
        ]
    )
    graph.graph.node.extend(
        [
            helper.make_node("Gather", [given.name, "age_column"], ["age"], axis=1),
            helper.make_node("Cast", ["age"], ["whole_age"], to=onnx.TensorProto.INT64),
            helper.make_node("Gather", ["age_table", "whole_age"], ["correction"]),
            helper.make_node("Add", ["uncorrected", "correction"], [answer.name]),
        ]
    )
    return graph


def rows_it_knows(model: Trained) -> pd.DataFrame:
    """Rows on which nothing is wrong with it."""
    return model.X[model.X["age"] <= LAST_AGE]
