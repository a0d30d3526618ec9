"""Fixtures of the worker's tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import ModelProto

from tests.serving.rig import Rig

MakeRig = Callable[..., Rig]


@pytest.fixture
def rig(tmp_path: Path) -> MakeRig:
    """Makes a rig around a graph."""

    def make(graph: ModelProto, **manifest: Any) -> Rig:
        return Rig(graph, tmp_path, **manifest)

    return make
