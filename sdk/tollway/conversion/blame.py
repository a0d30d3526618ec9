"""Find the step that does not convert, by converting the steps one at a time."""

import warnings

from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

from tollway.conversion.errors import ConversionError
from tollway.conversion.foreign import Estimator
from tollway.conversion.rewrites import rewritten
from tollway.conversion.runtime import Session
from tollway.conversion.search import Failure
from tollway.conversion.steps import WAYS_OUT, is_container, parts, refuse

RUNTIME = "[ONNXRuntimeError]"


def blame(model: Estimator, failures: list[Failure]) -> ConversionError:
    """The error for a model of which no candidate came out."""
    error = next((f.error for f in failures if f.error is not None), None)
    why = _first_line(error)
    suspects = [(path, part) for path, part in parts(model) if not is_container(part)]
    guilty = [(path, part) for path, part in suspects if not _converts_alone(part)]
    if RUNTIME in why:
        why = f"the graph that was made of it does not load ({why.rsplit(' : ', 1)[-1].strip()})"
    path, part = guilty[-1] if guilty else (suspects[0] if suspects else ((), model))
    if not guilty and len(suspects) > 1:
        path, part = (), model
    tried = "; ".join(str(failure.candidate) for failure in failures)
    refused = refuse(path, part, why, f"Tried: {tried}. {WAYS_OUT}")
    refused.__cause__ = error
    return refused


def _first_line(error: BaseException | None) -> str:
    text = str(error).strip().splitlines()[0] if error is not None and str(error).strip() else ""
    return text[:300].rstrip(".") or type(error).__name__


def _converts_alone(part: Estimator) -> bool:
    width = getattr(part, "n_features_in_", None) or 1
    for kind in (FloatTensorType, StringTensorType):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                graph = convert_sklearn(
                    rewritten(part, double=False),
                    initial_types=[("input", kind([None, int(width)]))],
                    target_opset={"": 18, "ai.onnx.ml": 3},
                )
            Session(graph.SerializeToString())
        except Exception:  # noqa: S112 - any failure only means: not this way
            continue
        return True
    return False
