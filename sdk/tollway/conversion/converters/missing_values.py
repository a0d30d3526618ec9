"""Missing values in scikit-learn's trees: skl2onnx 1.20 drops the side that each split sends them to."""

import sys
from typing import Any

NAME = "add_tree_to_attribute_pairs"


def with_missing_sides(original: Any) -> Any:
    """skl2onnx's tree writer, followed by ``missing_go_to_left`` of every split."""

    def add_tree(attr_pairs: Any, is_classifier: bool, tree: Any, *args: Any, **kwargs: Any) -> None:
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


def patch_tree_writers() -> None:
    """Put the completed writer in every skl2onnx module that imported the original by name."""
    from skl2onnx.common import tree_ensemble  # noqa: PLC0415

    original = getattr(tree_ensemble, NAME)
    if hasattr(original, "__wrapped__"):
        return
    completed = with_missing_sides(original)
    for name, module in list(sys.modules.items()):
        if name.startswith("skl2onnx.") and getattr(module, NAME, None) is original:
            setattr(module, NAME, completed)
