"""An estimator's parts, named as their owner would: pipeline step 'prep' → 'custom'."""

from collections.abc import Iterator
from typing import Any

from tollway.conversion.errors import ConversionError
from tollway.conversion.foreign import Estimator
from tollway.conversion.rewrites import unwrapped

Path = tuple[str, ...]

_LISTS = ("estimators_",)
_SINGLE = ("final_estimator_", "estimator_", "regressor_", "transformer_")
_CONTAINERS = frozenset({"Pipeline", "ColumnTransformer", "FeatureUnion"})

WAYS_OUT = (
    "Ways out: replace the step by one of docs/reference/model-families.md; or apply it to the "
    "data before the pipeline and fit and deploy the rest; or convert the model to ONNX yourself "
    "and deploy the .onnx file."
)


def parts(model: Estimator, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """``(path, estimator)`` of every part, containers before what they hold."""
    model = unwrapped(model)
    yield path, model
    name = type(model).__name__
    if hasattr(model, "steps") and isinstance(model.steps, list):
        for step, inner in model.steps:
            yield from _part(inner, (*path, step))
        return
    if name == "ColumnTransformer":
        for step, inner, _ in model.transformers_:
            yield from _part(inner, (*path, step))
        return
    if name == "FeatureUnion":
        for step, inner in model.transformer_list:
            yield from _part(inner, (*path, step))
        return
    yield from _members(model, path, name)


def _members(model: Estimator, path: Path, name: str) -> Iterator[tuple[Path, Any]]:
    names = [n for n, e in getattr(model, "estimators", None) or [] if not isinstance(e, str)]
    for attribute in _LISTS:
        members = getattr(model, attribute, None)
        if isinstance(members, list) and all(hasattr(m, "get_params") for m in members):
            shown = names if len(names) == len(members) else [str(i) for i in range(len(members))]
            # Members of a plain ensemble are all alike: the first stands for the rest.
            count = len(members) if names else min(1, len(members))
            for step, inner in list(zip(shown, members, strict=True))[:count]:
                yield from _part(inner, (*path, step))
    for attribute in _SINGLE:
        inner = getattr(model, attribute, None)
        if inner is not None and hasattr(inner, "get_params"):
            yield from _part(inner, (*path, attribute.rstrip("_")))
    if name == "CalibratedClassifierCV":
        yield from _part(model.calibrated_classifiers_[0].estimator, (*path, "estimator"))


def _part(inner: Estimator, path: Path) -> Iterator[tuple[Path, Any]]:
    if inner is not None and not isinstance(inner, str):
        yield from parts(inner, path)


def named(path: Path, model: Estimator) -> str:
    """``pipeline step 'prep' → 'custom': MyTransformer``, or the class alone for a bare model."""
    name = type(model).__name__
    if not path:
        return name
    return "pipeline step " + " → ".join(repr(step) for step in path) + f": {name}"


def is_container(model: Estimator) -> bool:
    """Whether the estimator only holds others."""
    return type(model).__name__ in _CONTAINERS or isinstance(getattr(model, "steps", None), list)


def refuse(path: Path, model: Estimator, why: str, way_out: str = WAYS_OUT) -> ConversionError:
    """The error for one part: its place, the reason, the ways out."""
    return ConversionError(f"{named(path, model)} cannot be converted: {why}. {way_out}")
