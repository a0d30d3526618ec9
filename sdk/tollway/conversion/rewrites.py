"""A copy of the fitted estimator in the form that converts; the original is never touched.

Searches are replaced by their best estimator, column names by positions, options that do not affect
``predict`` by the ones that convert. In a graph of doubles, trees get their input cast to float32
first, which is what scikit-learn does itself before it compares with a threshold.
"""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from skl2onnx.sklapi import CastTransformer
from sklearn.cluster import KMeans
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from tollway.conversion.foreign import Estimator, Foreign

TREES = frozenset(
    {
        "DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier",
        "ExtraTreeRegressor", "RandomForestClassifier", "RandomForestRegressor",
        "ExtraTreesClassifier", "ExtraTreesRegressor", "GradientBoostingClassifier",
        "GradientBoostingRegressor", "IsolationForest",
    }
)  # fmt: skip
"""Estimators that cast their input to float32 themselves."""

FLOAT_ONLY = frozenset(
    {
        "XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor",
        "SVC", "NuSVC", "SVR", "NuSVR", "OneClassSVM", "LinearSVC",
        "RidgeClassifier", "RidgeClassifierCV", "KNNImputer",
    }
)  # fmt: skip
"""Estimators whose ONNX operator takes float32 only."""

ENSEMBLES_OF_TREES = frozenset(
    {"AdaBoostClassifier", "AdaBoostRegressor", "BaggingClassifier", "BaggingRegressor"}
)

Rewrite = Callable[[Any], Any]


def takes_float32(estimator: Estimator) -> bool:
    """Whether casting the input of ``estimator`` to float32 loses nothing that it would use."""
    name = type(estimator).__name__
    if name in ENSEMBLES_OF_TREES:
        return all(type(inner).__name__ in TREES for inner in estimator.estimators_)
    return name in TREES or name in FLOAT_ONLY


def unwrapped(model: Estimator) -> Foreign:
    """The estimator that answers: the best one of a search, the inner one of a wrapper."""
    while True:
        name = type(model).__name__
        if hasattr(model, "best_estimator_") and hasattr(model, "cv_results_"):
            model = model.best_estimator_
        elif name == "SelfTrainingClassifier":
            model = model.estimator_
        elif name == "FrozenEstimator":
            model = model.estimator
        else:
            return model


def rewritten(model: Estimator, *, double: bool) -> Foreign:
    """``model`` as it should be given to skl2onnx, for a graph of floats or of doubles."""

    def visit(estimator: Estimator) -> Foreign:
        estimator = unwrapped(estimator)
        name = type(estimator).__name__
        rewrite = REWRITES.get(name)
        changed = rewrite(estimator, visit) if rewrite else estimator
        if double and takes_float32(estimator):
            return cast_first(changed)
        return changed

    return visit(_predicting(model))


def _predicting(model: Estimator) -> Foreign:
    """A final recursive feature elimination predicts: selection, then its inner estimator."""
    model = unwrapped(model)
    if type(model) is Pipeline and type(model.steps[-1][1]).__name__ in {"RFE", "RFECV"}:
        name, last = model.steps[-1]
        return Pipeline([*model.steps[:-1], (f"{name}_select", last), (name, last.estimator_)])
    if type(model).__name__ in {"RFE", "RFECV"}:
        return Pipeline([("select", model), ("model", model.estimator_)])
    return model


def cast_first(estimator: Estimator) -> Foreign:
    """A pipeline of a cast to float32 and ``estimator``."""
    return Pipeline([("cast", CastTransformer(dtype=np.float32)), ("model", estimator)])


def _pipeline(model: Estimator, visit: Rewrite) -> Foreign:
    steps = []
    for name, step in model.steps:
        if step is None or step == "passthrough":
            continue
        inner = visit(step)
        if type(inner) is Pipeline and [n for n, _ in inner.steps] == ["cast", "model"]:
            steps.extend([(f"{name}_cast", inner.steps[0][1]), (name, inner.steps[1][1])])
        else:
            steps.append((name, inner))
    changed = copy.copy(model)
    changed.steps = steps
    return changed


def _column_transformer(model: Estimator, visit: Rewrite) -> Foreign:
    changed = copy.copy(model)
    positions = model._transformer_to_input_indices
    changed.transformers_ = [
        (name, step if isinstance(step, str) else visit(step), [int(i) for i in positions[name]])
        for name, step, _ in model.transformers_
    ]
    return changed


def _feature_union(model: Estimator, visit: Rewrite) -> Foreign:
    changed = copy.copy(model)
    changed.transformer_list = [
        (name, FunctionTransformer() if step == "passthrough" else visit(step))
        for name, step in model.transformer_list
        if step is not None and not (isinstance(step, str) and step == "drop")
    ]
    return changed


def _voting(model: Estimator, visit: Rewrite) -> Foreign:
    changed = copy.copy(model)
    changed.estimators_ = [visit(estimator) for estimator in model.estimators_]
    if hasattr(model, "flatten_transform"):
        changed.flatten_transform = False
    if model.weights is not None:
        kept = [w for (_, e), w in zip(model.estimators, model.weights, strict=True) if e != "drop"]
        changed.weights = np.asarray(kept, dtype=np.float64)
    return changed


def _stacking(model: Estimator, visit: Rewrite) -> Foreign:
    changed = copy.copy(model)
    changed.estimators_ = [visit(estimator) for estimator in model.estimators_]
    changed.final_estimator_ = visit(model.final_estimator_)
    return changed


def _inner_list(model: Estimator, visit: Rewrite) -> Foreign:
    if takes_float32(model):
        return model
    changed = copy.copy(model)
    changed.estimators_ = [visit(estimator) for estimator in model.estimators_]
    return changed


def _calibrated(model: Estimator, visit: Rewrite) -> Estimator:
    if any(hasattr(c.estimator, "steps") for c in model.calibrated_classifiers_):
        return _calibrated_pipelines(model, visit)
    changed = copy.copy(model)
    changed.calibrated_classifiers_ = []
    for calibrated in model.calibrated_classifiers_:
        part = copy.copy(calibrated)
        part.estimator = visit(calibrated.estimator)
        changed.calibrated_classifiers_.append(part)
    return changed


def _calibrated_pipelines(model: Estimator, visit: Rewrite) -> Estimator:
    """The mean of pipelines that each end in a calibrated classifier: what the model is.

    skl2onnx cannot ask a pipeline for its decision function, but it can ask the last step.
    """
    members = []
    for calibrated in model.calibrated_classifiers_:
        inner = unwrapped(calibrated.estimator)
        part, single = copy.copy(calibrated), copy.copy(model)
        single.calibrated_classifiers_ = [part]
        steps = [] if not hasattr(inner, "steps") else list(inner.steps[:-1])
        part.estimator = inner if not steps else inner.steps[-1][1]
        members.append(visit(Pipeline([*steps, ("calibrated", single)])))
    mean = VotingClassifier([(str(i), m) for i, m in enumerate(members)], voting="soft")
    mean.flatten_transform = False
    mean.estimators_ = members
    mean.classes_ = model.classes_
    return mean


def _attribute(name: str) -> Callable[[Any, Rewrite], Any]:
    def rewrite(model: Estimator, visit: Rewrite) -> Foreign:
        changed = copy.copy(model)
        setattr(changed, name, visit(getattr(model, name)))
        return changed

    return rewrite


def _vectorizer(model: Estimator, visit: Rewrite) -> Foreign:
    """Stop words never are in the vocabulary; the graph must not drop whole rows for them."""
    del visit
    if not model.stop_words or tuple(model.ngram_range) != (1, 1):
        return model
    changed = copy.copy(model)
    changed.stop_words = None
    return changed


def _dense_bins(model: Estimator, visit: Rewrite) -> Foreign:
    """ONNX has no sparse tensors between nodes; the values are the same."""
    del visit
    if model.encode != "onehot":
        return model
    changed = copy.copy(model)
    changed.encode = "onehot-dense"
    return changed


def _nearest_centre(model: Estimator, visit: Rewrite) -> Foreign:
    """Clusterers that answer with the nearest of their centres, as KMeans does."""
    del visit
    centres = np.asarray(model.cluster_centers_)
    changed = KMeans(n_clusters=len(centres))
    changed.cluster_centers_ = centres
    changed.labels_ = np.arange(len(centres))
    changed.n_features_in_ = centres.shape[1]
    return changed


REWRITES: dict[str, Callable[[Any, Rewrite], Any]] = {
    "Pipeline": _pipeline,
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
    "VotingClassifier": _voting,
    "VotingRegressor": _voting,
    "StackingClassifier": _stacking,
    "StackingRegressor": _stacking,
    "BaggingClassifier": _inner_list,
    "BaggingRegressor": _inner_list,
    "OneVsRestClassifier": _inner_list,
    "OneVsOneClassifier": _inner_list,
    "MultiOutputRegressor": _inner_list,
    "CalibratedClassifierCV": _calibrated,
    "TransformedTargetRegressor": _attribute("regressor_"),
    "FixedThresholdClassifier": _attribute("estimator_"),
    "TunedThresholdClassifierCV": _attribute("estimator_"),
    "CountVectorizer": _vectorizer,
    "TfidfVectorizer": _vectorizer,
    "KBinsDiscretizer": _dense_bins,
    "MeanShift": _nearest_centre,
    "AffinityPropagation": _nearest_centre,
}
