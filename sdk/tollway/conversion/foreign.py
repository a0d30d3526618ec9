"""Names for objects of libraries that ship no types (scikit-learn, skl2onnx, pandas, polars)."""

from typing import Any

Estimator = Any
"""A fitted estimator, pipeline or booster."""

Frame = Any
"""A pandas or polars DataFrame, or one of its columns."""

Foreign = Any
"""Anything else: a skl2onnx scope, operator, container or type; an estimator's attribute."""
