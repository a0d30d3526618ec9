"""What is known not to convert, said before any time is spent, with the way out for each."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from skl2onnx._supported_operators import sklearn_operator_name_map
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from tollway.conversion.converters.functions import is_known, known_functions
from tollway.conversion.errors import ConversionError
from tollway.conversion.foreign import Estimator
from tollway.conversion.rewrites import REWRITES
from tollway.conversion.steps import is_container, parts, refuse


class Refusal(NamedTuple):
    """Why a part does not convert, and the ways out."""

    why: str
    ways_out: str


def check_model(model: Estimator) -> None:
    """Raise :class:`ConversionError` for what is no model, or not fitted."""
    if not hasattr(model, "get_params") and not hasattr(model, "predict"):
        raise ConversionError(
            f"{type(model).__name__} is not a model that deploys: give a fitted scikit-learn "
            "estimator or pipeline, a LightGBM or XGBoost model, a path to an .onnx file, or an "
            "onnx.ModelProto."
        )
    if isinstance(model, BaseEstimator):
        _check_fitted(model)


def check_convertible(model: Estimator) -> None:
    """Raise :class:`ConversionError` for the first part that is known not to convert."""
    for path, part in parts(model):
        check = CHECKS.get(type(part).__name__)
        refusal = check(part) if check else None
        if refusal:
            raise refuse(path, part, *refusal)
        known = type(part) in sklearn_operator_name_map or type(part).__name__ in REWRITES
        if not known and not is_container(part):
            raise refuse(path, part, "there is no ONNX converter for this class")


def _check_fitted(model: Estimator) -> None:
    try:
        check_is_fitted(model)
    except NotFittedError as error:
        name = type(model).__name__
        raise ConversionError(f"{name} is not fitted: call fit before deploy") from error


def _hist_gradient_boosting(model: Estimator) -> Refusal | None:
    categorical = getattr(model, "is_categorical_", None)
    if categorical is None or not np.any(categorical):
        return None
    return Refusal(
        "its native categorical splits have no counterpart in ONNX that is proven to agree",
        "Ways out: fit it with categorical_features=None behind an OrdinalEncoder or OneHotEncoder "
        "in a ColumnTransformer; or convert the model to ONNX yourself and deploy the .onnx file.",
    )


def _function_transformer(model: Estimator) -> Refusal | None:
    if is_known(model.func) and not model.kw_args:
        return None
    function = getattr(model.func, "__name__", repr(model.func))
    return Refusal(
        f"its function {function!r} is Python code",
        f"Ways out: use a numpy function that ONNX has ({known_functions()}); or apply the "
        "function to the data before the pipeline and fit and deploy the rest.",
    )


def _text(model: Estimator) -> Refusal | None:
    reasons = {
        "a custom tokenizer": getattr(model, "tokenizer", None) is not None,
        "a custom preprocessor": getattr(model, "preprocessor", None) is not None,
        f"strip_accents={model.strip_accents!r}": model.strip_accents is not None,
        f"analyzer={model.analyzer!r}": model.analyzer not in {"word", "char"},
        "stop words with n-grams": bool(model.stop_words) and tuple(model.ngram_range) != (1, 1),
    }
    found = [reason for reason, present in reasons.items() if present]
    if not found:
        return None
    return Refusal(
        f"{' and '.join(found)} cannot be said in ONNX",
        "Ways out: use the default word analyzer with a token_pattern; or do that part of the work "
        "on the text before the pipeline, where the caller does it too.",
    )


def _target_regressor(model: Estimator) -> Refusal | None:
    transformer = model.transformer_
    affine = {"StandardScaler", "RobustScaler", "MinMaxScaler", "MaxAbsScaler"}
    name = type(transformer).__name__
    if name in affine or (name == "FunctionTransformer" and is_known(transformer.inverse_func)):
        return None
    return Refusal(
        f"the inverse of its {name} has no ONNX form",
        f"Ways out: use a scaler, or inverse_func among {known_functions()}.",
    )


def _many_answers(model: Estimator) -> Refusal | None:
    classes = getattr(model, "classes_", None)
    multilabel = getattr(model, "multilabel_", False)
    if not multilabel and not (isinstance(classes, list) and len(classes) > 1):
        return None
    return Refusal(
        "it predicts several labels at once",
        "Ways out: fit and deploy one model per label.",
    )


def _multi_output(model: Estimator) -> Refusal | None:
    del model
    return Refusal(
        "it predicts several labels at once",
        "Ways out: deploy each of its estimators_ as a model of its own.",
    )


def _isotonic(model: Estimator) -> Refusal | None:
    if model.out_of_bounds != "raise":
        return None
    return Refusal(
        "out_of_bounds='raise' would have to fail at prediction",
        "Way out: fit it with out_of_bounds='clip'.",
    )


def _lightgbm(model: Estimator) -> Refusal | None:
    trees = model.booster_.dump_model()["tree_info"]
    if not any(_has_sets(tree["tree_structure"]) for tree in trees):
        return None
    return Refusal(
        "it splits on native categoricals, which do not convert reliably",
        "Ways out: fit it without categorical_feature on a frame whose categories went through an "
        "OrdinalEncoder or OneHotEncoder in a ColumnTransformer.",
    )


def _has_sets(node: dict[str, Any]) -> bool:
    if "left_child" not in node:
        return False
    if node["decision_type"] == "==":
        return True
    return _has_sets(node["left_child"]) or _has_sets(node["right_child"])


def _xgboost(model: Estimator) -> Refusal | None:
    missing = getattr(model, "missing", np.nan)
    if missing is not None and not np.isnan(missing):
        return Refusal(
            f"it takes {missing!r} for a missing value",
            "Way out: fit it with missing=np.nan on data that has NaN where values are missing.",
        )
    types = model.get_booster().feature_types or []
    if "c" not in types:
        return None
    return Refusal(
        "it splits on native categoricals, which do not convert reliably",
        "Ways out: fit it with enable_categorical=False on a frame whose categories went through "
        "an OrdinalEncoder or OneHotEncoder in a ColumnTransformer.",
    )


CHECKS: dict[str, Callable[[Estimator], Refusal | None]] = {
    "HistGradientBoostingClassifier": _hist_gradient_boosting,
    "HistGradientBoostingRegressor": _hist_gradient_boosting,
    "FunctionTransformer": _function_transformer,
    "TfidfVectorizer": _text,
    "CountVectorizer": _text,
    "TransformedTargetRegressor": _target_regressor,
    "MultiOutputClassifier": _multi_output,
    "ClassifierChain": _multi_output,
    "IsotonicRegression": _isotonic,
    **dict.fromkeys(("LGBMClassifier", "LGBMRegressor"), _lightgbm),
    **dict.fromkeys(
        ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor"), _xgboost
    ),
    **dict.fromkeys(
        (
            "DecisionTreeClassifier", "ExtraTreeClassifier", "RandomForestClassifier",
            "ExtraTreesClassifier", "KNeighborsClassifier", "MLPClassifier",
            "OneVsRestClassifier", "LogisticRegression", "GradientBoostingClassifier",
        ),
        _many_answers,
    ),
}  # fmt: skip
