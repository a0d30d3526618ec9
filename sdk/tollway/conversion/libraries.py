"""Versions of the libraries that made a graph."""

import sys
from importlib import metadata

ALWAYS = ("scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy")
BY_MODULE = {"lightgbm": ("lightgbm", "onnxmltools"), "xgboost": ("xgboost", "onnxmltools")}


def versions(model: object, X: object = None) -> dict[str, str]:
    """Distribution name -> version: the converters, and the libraries of ``model`` and ``X``."""
    names = list(ALWAYS)
    for value in (model, X):
        module = type(value).__module__.split(".", 1)[0]
        if module in {"pandas", "polars"}:
            names.append(module)
    for module, distributions in BY_MODULE.items():
        if module in sys.modules and _uses(model, module):
            names.extend(distributions)
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            module_version = getattr(sys.modules.get(name), "__version__", None)
            if module_version is not None:
                found[name] = str(module_version)
    return found


def onnx_versions() -> dict[str, str]:
    """Versions for a graph that came as it is."""
    return {name: metadata.version(name) for name in ("onnx", "onnxruntime")}


def _uses(model: object, module: str) -> bool:
    from tollway.conversion.steps import parts  # noqa: PLC0415

    return any(type(part).__module__.startswith(module) for _, part in parts(model))
