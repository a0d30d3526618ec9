"""The way in: one function for every kind of model."""

import os
from collections.abc import Callable

from tollway.conversion.types import MOST_BACKGROUND_ROWS, Converted


def convert(
    model: object,
    X: object = None,
    y: object = None,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    background: int = 100,
    progress: Callable[[str], None] | None = None,
) -> Converted:
    """Convert ``model`` and prove that the graph answers as it does on the rows of ``X``.

    ``model`` is a fitted scikit-learn estimator or pipeline, a LightGBM or XGBoost model, a path to
    an ``.onnx`` file, or an ``onnx.ModelProto``; the last two deploy as they are. ``y`` is not
    needed for the proof: parity is with the original's answers, not with the truth. ``progress`` is
    called with one short line per step. ``background`` rows of ``X`` are kept for
    explanations. Raises :class:`ConversionError` or :class:`ParityError`.
    """
    del y
    if not 0 <= background <= MOST_BACKGROUND_ROWS:
        raise ValueError(
            f"background is {background}: 0 to {MOST_BACKGROUND_ROWS} rows can be kept"
        )
    report = progress or (lambda _line: None)
    if isinstance(model, (str, os.PathLike)) or type(model).__name__ == "ModelProto":
        from tollway.conversion.given import convert_given  # noqa: PLC0415 - loads onnx

        return convert_given(model, X, background, report)
    # Loads scikit-learn, skl2onnx and ONNX Runtime, which a client that only predicts never needs.
    from tollway.conversion.estimators import convert_estimator  # noqa: PLC0415
    from tollway.conversion.parity import ATOL, RTOL, Tolerance  # noqa: PLC0415

    tolerance = Tolerance(ATOL if atol is None else atol, RTOL if rtol is None else rtol)
    return convert_estimator(model, X, tolerance, background, report)
