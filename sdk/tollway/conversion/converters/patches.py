"""Two functions inside skl2onnx 1.20 that answer differently from scikit-learn, put right.

Its tree writer drops the side that each split sends missing values to; its isotonic calibration
takes the nearest threshold where scikit-learn interpolates.
"""

import sys

from skl2onnx.common import tree_ensemble
from skl2onnx.operator_converters import calibrated_classifier_cv

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
    """Put both right, in every skl2onnx module that imported them by name."""
    _patch_tree_writers()
    calibrated_classifier_cv._transform_isotonic = calibrate_isotonic


def _patch_tree_writers() -> None:
    original = getattr(tree_ensemble, NAME)
    if hasattr(original, "__wrapped__"):
        return
    completed = with_missing_sides(original)
    for name, module in list(sys.modules.items()):
        if name.startswith("skl2onnx.") and getattr(module, NAME, None) is original:
            setattr(module, NAME, completed)
