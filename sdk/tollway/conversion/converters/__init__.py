"""Converters that skl2onnx lacks or gets wrong, registered with it once."""

from functools import cache
from threading import Lock
from typing import Any

from skl2onnx import update_registered_converter
from skl2onnx.common._registration import register_converter
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from skl2onnx.shape_calculators.nearest_neighbours import (
    calculate_sklearn_nearest_neighbours_regressor,
)
from sklearn import (
    compose,
    covariance,
    ensemble,
    feature_selection,
    impute,
    isotonic,
    model_selection,
    neighbors,
    preprocessing,
)

from tollway.conversion.converters import encoders, functions, models, neighbours
from tollway.conversion.converters import hist_gradient_boosting as hist
from tollway.conversion.converters.patches import patch
from tollway.conversion.converters.text import convert_tfidf

_REGISTERING = Lock()
CLASSIFIER_OPTIONS: dict[str, list[Any]] = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "raw_scores": [True, False],
    "optim": [None, "cdist"],
}


def register() -> None:
    """Register all of them, replacing skl2onnx's own where it has one. Safe to call again, and from
    several threads: none goes on before all are registered."""
    with _REGISTERING:
        _register_once()


@cache
def _register_once() -> None:
    patch()
    for estimator, shapes, convert in _classifiers():
        update_registered_converter(
            estimator,
            f"Tollway{estimator.__name__}",
            shapes,
            convert,
            overwrite=True,
            options=CLASSIFIER_OPTIONS,
        )
    _register_tfidf()
    for estimator, shapes, convert in (*_regressors(), *_others()):
        update_registered_converter(
            estimator, f"Tollway{estimator.__name__}", shapes, convert, overwrite=True
        )


def _register_tfidf() -> None:
    """By name: TfidfVectorizer uses the operator too."""
    register_converter(
        "SklearnTfidfTransformer", convert_tfidf, overwrite=True, options={"nan": [False]}
    )


def _classifiers() -> tuple[tuple[Any, Any, Any], ...]:
    return (
        (ensemble.HistGradientBoostingClassifier, hist.classifier_shapes, hist.convert_classifier),
        (
            neighbors.KNeighborsClassifier,
            calculate_linear_classifier_output_shapes,
            neighbours.convert_classifier,
        ),
        (
            model_selection.TunedThresholdClassifierCV,
            models.threshold_shapes,
            models.convert_threshold,
        ),
        (
            model_selection.FixedThresholdClassifier,
            models.threshold_shapes,
            models.convert_threshold,
        ),
    )


def _regressors() -> tuple[tuple[Any, Any, Any], ...]:
    return (
        (ensemble.HistGradientBoostingRegressor, hist.regressor_shapes, hist.convert_regressor),
        (
            neighbors.KNeighborsRegressor,
            calculate_sklearn_nearest_neighbours_regressor,
            neighbours.convert_regressor,
        ),
        (compose.TransformedTargetRegressor, functions.target_shapes, functions.convert_target),
        (isotonic.IsotonicRegression, models.isotonic_shapes, models.convert_isotonic),
    )


def _others() -> tuple[tuple[Any, Any, Any], ...]:
    return (
        (impute.SimpleImputer, encoders.imputer_shapes, encoders.convert_imputer),
        (preprocessing.OneHotEncoder, encoders.one_hot_shapes, encoders.convert_one_hot),
        (preprocessing.OrdinalEncoder, encoders.ordinal_shapes, encoders.convert_ordinal),
        (preprocessing.FunctionTransformer, functions.function_shapes, functions.convert_function),
        (covariance.EllipticEnvelope, models.outlier_shapes, models.convert_elliptic_envelope),
        (
            feature_selection.SequentialFeatureSelector,
            models.selector_shapes,
            models.convert_selector,
        ),
    )
