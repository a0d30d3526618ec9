"""What inside skl2onnx 1.20 answers differently from scikit-learn, put right.

Its tree writer drops the side that each split sends missing values to; its isotonic calibration
takes the nearest threshold where scikit-learn interpolates; some of its classifiers refuse the
option ``zipmap`` that its own pipelines give them.
"""

import sys

from skl2onnx._supported_operators import sklearn_operator_name_map
from skl2onnx.common import tree_ensemble
from skl2onnx.common._registration import _converter_pool
from skl2onnx.operator_converters import calibrated_classifier_cv
from sklearn.base import ClassifierMixin

from tollway.conversion.converters.models import calibrate_isotonic
from tollway.conversion.foreign import Foreign

NAME = "add_tree_to_attribute_pairs"


def with_missing_sides(original: Foreign) -> Foreign:
    """skl2onnx's tree writer, followed by ``missing_go_to_left`` of every split."""

    def add_tree(
        attr_pairs: Foreign, is_classifier: bool, tree: Foreign, *args: Foreign, **kwargs: Foreign
    ) -> None:
        first = len(attr_pairs["nodes_modes"])
        original(attr_pairs, is_classifier, tree, *args, **kwargs)
        sides = getattr(tree, "missing_go_to_left", None)
        if sides is None:
            return
        tracks = attr_pairs["nodes_missing_value_tracks_true"]
        for i, side in enumerate(sides.tolist()):
            if attr_pairs["nodes_modes"][first + i] != "LEAF":
                tracks[first + i] = int(side)

    add_tree.__wrapped__ = original  # type: ignore[attr-defined]
    return add_tree


def patch() -> None:
    """Put all of it right, in every skl2onnx module that imported them by name."""
    _patch_tree_writers()
    _accept_zipmap()
    calibrated_classifier_cv._transform_isotonic = calibrate_isotonic


def _accept_zipmap() -> None:
    """Let every classifier be told ``zipmap=False``: pipelines inside others tell all of theirs."""
    for estimator, alias in sklearn_operator_name_map.items():
        converter = _converter_pool.get(alias)
        if converter is None or not issubclass(estimator, ClassifierMixin):
            continue
        if "zipmap" not in (converter._options or {}):
            converter._options = {**(converter._options or {}), "zipmap": [True, False]}


def _patch_tree_writers() -> None:
    original = getattr(tree_ensemble, NAME)
    if hasattr(original, "__wrapped__"):
        return
    completed = with_missing_sides(original)
    for name, module in list(sys.modules.items()):
        if name.startswith("skl2onnx.") and getattr(module, NAME, None) is original:
            setattr(module, NAME, completed)
