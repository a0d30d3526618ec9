"""TfidfTransformer: skl2onnx 1.20 has ``log(1 + tf)`` for ``sublinear_tf``."""

from skl2onnx.common._apply_operation import apply_normalizer

from tollway.conversion.converters.builder import Nodes
from tollway.conversion.foreign import Foreign


def convert_tfidf(scope: Foreign, operator: Foreign, container: Foreign) -> None:
    """Term weights: sublinear counts, inverse document frequency, norm."""
    nodes = Nodes(scope, operator, container)
    model = operator.raw_operator
    value = nodes.real_input()
    if model.sublinear_tf:
        absent = nodes.add("Equal", [value, nodes.reals([0.0])])
        counts = nodes.add("Where", [absent, nodes.reals([1.0]), value])
        weight = nodes.add("Add", [nodes.add("Log", [counts]), nodes.reals([1.0])])
        value = nodes.add("Where", [absent, nodes.reals([0.0]), weight])
    if model.use_idf:
        value = nodes.add("Mul", [value, nodes.reals(model.idf_[None, :])])
    if model.norm is not None:
        normed = scope.get_unique_variable_name("normed")
        apply_normalizer(
            scope, value, normed, container, norm=model.norm.upper(), use_float=not nodes.double
        )
        value = normed
    nodes.add("Identity", [value], operator.outputs[0].full_name)
