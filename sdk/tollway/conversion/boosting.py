"""LightGBM and XGBoost, through onnxmltools (extra ``tollway[boosting]``)."""

import json
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from skl2onnx import update_registered_converter
from skl2onnx.common import shape_calculator as shapes
from sklearn.preprocessing import LabelEncoder

from tollway.conversion.converters.hist_gradient_boosting import (
    classifier_shapes,
    regressor_shapes,
)
from tollway.conversion.converters.thresholds import convert_lightgbm
from tollway.conversion.errors import ConversionError
from tollway.conversion.foreign import Estimator, Foreign
from tollway.conversion.steps import parts

LIGHTGBM = frozenset({"LGBMClassifier", "LGBMRegressor"})
XGBOOST = frozenset({"XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor"})
OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False]}


def as_estimator(model: Estimator) -> Foreign:
    """A bare Booster as the estimator that it would be inside; every other model as it is."""
    module = type(model).__module__.split(".", 1)[0]
    if type(model).__name__ != "Booster":
        return model
    if module == "xgboost":
        return _xgboost_estimator(model)
    if module == "lightgbm":
        return _lightgbm_estimator(model)
    return model


def register_boosting(model: Estimator) -> None:
    """Register the converters that ``model`` needs, or raise :class:`ConversionError`."""
    names = {type(part).__name__ for _, part in parts(model)}
    if names & LIGHTGBM:
        _tools()
        _register_lightgbm()
    if names & XGBOOST:
        _tools()
        _register_xgboost()


def _tools() -> None:
    try:
        import onnxmltools  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConversionError(
            "LightGBM and XGBoost models need onnxmltools: pip install 'tollway[boosting]'"
        ) from error


@cache
def _register_lightgbm() -> None:
    import lightgbm  # noqa: PLC0415

    update_registered_converter(
        lightgbm.LGBMClassifier,
        "LightGbmLGBMClassifier",
        classifier_shapes,
        convert_lightgbm,
        options=OPTIONS,
    )
    update_registered_converter(
        lightgbm.LGBMRegressor, "LightGbmLGBMRegressor", regressor_shapes, convert_lightgbm
    )


@cache
def _register_xgboost() -> None:
    import xgboost  # noqa: PLC0415
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import (  # noqa: PLC0415
        convert_xgboost,
    )

    for name in ("XGBClassifier", "XGBRFClassifier"):
        update_registered_converter(
            getattr(xgboost, name),
            f"XGBoost{name}",
            shapes.calculate_linear_classifier_output_shapes,
            convert_xgboost,
            options=OPTIONS,
        )
    for name in ("XGBRegressor", "XGBRFRegressor"):
        update_registered_converter(
            getattr(xgboost, name),
            f"XGBoost{name}",
            shapes.calculate_linear_regressor_output_shapes,
            convert_xgboost,
        )


def _xgboost_estimator(booster: Estimator) -> Foreign:
    import xgboost  # noqa: PLC0415

    config = json.loads(booster.save_config())
    objective = str(config["learner"]["objective"]["name"])
    classifies = objective.startswith(("binary:", "multi:"))
    model = xgboost.XGBClassifier() if classifies else xgboost.XGBRegressor()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "booster.json"
        booster.save_model(path)
        model.load_model(path)
    return model


def _lightgbm_estimator(booster: Estimator) -> Foreign:
    import lightgbm  # noqa: PLC0415

    objective = str(booster.dump_model()["objective"]).split(" ", maxsplit=1)[0]
    classifies = objective.startswith(("binary", "multiclass"))
    model = lightgbm.LGBMClassifier() if classifies else lightgbm.LGBMRegressor()
    model._Booster = booster
    model._n_features = model._n_features_in = booster.num_feature()
    model.fitted_ = True
    model._objective = objective
    if classifies:
        count = max(2, int(booster.dump_model().get("num_class", 1)))
        model._classes = np.arange(count)
        model._n_classes = count
        model._le = LabelEncoder().fit(model._classes)
    return model
