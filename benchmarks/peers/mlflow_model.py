# mypy: disable-error-code="import-untyped, import-not-found"
"""Saves an ONNX graph as an MLflow model, which ``mlflow models serve`` then serves.

Run: ``python mlflow_model.py MODEL.onnx FOLDER``
"""

import argparse
from pathlib import Path

import mlflow.onnx
import onnx


def main() -> None:
    """Save the model."""
    parser = argparse.ArgumentParser(description="Save one ONNX model for MLflow.")
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    mlflow.onnx.save_model(
        onnx.load(arguments.model),
        arguments.folder,
        pip_requirements=[],
        onnx_session_options={"intra_op_num_threads": 1, "inter_op_num_threads": 1},
    )


if __name__ == "__main__":
    main()
