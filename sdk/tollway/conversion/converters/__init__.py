"""Converters that skl2onnx lacks or gets wrong, registered with it once."""

from functools import cache

CLASSIFIER_OPTIONS = {"zipmap": [True, False, "columns"], "nocl": [True, False]}


@cache
def register() -> None:
    """Register all of them, replacing skl2onnx's own where it has one. Safe to call again."""
    from skl2onnx import update_registered_converter  # noqa: PLC0415
    from sklearn import compose, covariance, ensemble, feature_selection, impute  # noqa: PLC0415
    from sklearn import isotonic, model_selection, preprocessing  # noqa: PLC0415

    from tollway.conversion.converters import encoders, functions, models  # noqa: PLC0415
    from tollway.conversion.converters.missing_values import patch_tree_writers  # noqa: PLC0415
    from tollway.conversion.converters import (  # noqa: PLC0415
        hist_gradient_boosting as hist,
    )

    patch_tree_writers()
    classifiers = (
        (ensemble.HistGradientBoostingClassifier, hist.classifier_shapes, hist.convert_classifier),
        (model_selection.TunedThresholdClassifierCV, models.threshold_shapes, models.convert_threshold),
        (model_selection.FixedThresholdClassifier, models.threshold_shapes, models.convert_threshold),
    )
    for estimator, shapes, convert in classifiers:
        update_registered_converter(
            estimator,
            f"Tollway{estimator.__name__}",
            shapes,
            convert,
            overwrite=True,
            options=CLASSIFIER_OPTIONS,
        )
    others = (
        (ensemble.HistGradientBoostingRegressor, hist.regressor_shapes, hist.convert_regressor),
        (impute.SimpleImputer, encoders.imputer_shapes, encoders.convert_imputer),
        (preprocessing.OneHotEncoder, encoders.one_hot_shapes, encoders.convert_one_hot),
        (preprocessing.OrdinalEncoder, encoders.ordinal_shapes, encoders.convert_ordinal),
        (preprocessing.FunctionTransformer, functions.function_shapes, functions.convert_function),
        (compose.TransformedTargetRegressor, functions.target_shapes, functions.convert_target),
        (covariance.EllipticEnvelope, models.outlier_shapes, models.convert_elliptic_envelope),
        (isotonic.IsotonicRegression, models.isotonic_shapes, models.convert_isotonic),
        (
            feature_selection.SequentialFeatureSelector,
            models.selector_shapes,
            models.convert_selector,
        ),
    )
    for estimator, shapes, convert in others:
        update_registered_converter(
            estimator, f"Tollway{estimator.__name__}", shapes, convert, overwrite=True
        )
