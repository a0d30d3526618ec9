"""LightGBM and XGBoost, through onnxmltools (extra ``tollway[boosting]``)."""

from typing import Any


def as_estimator(model: Any) -> Any:
    """A bare Booster as an estimator; every other model as it is."""
    return model


def register_boosting(model: Any) -> None:
    """Register the converters that ``model`` needs."""
    del model
