"""The package as a whole."""

import subprocess
import sys
import tomllib
from pathlib import Path

import tollway

SDK = Path(tollway.__file__).parent.parent
HEAVY = ("sklearn", "onnx", "onnxruntime", "skl2onnx", "pandas", "scipy", "typer")


def test_importing_the_client_is_light() -> None:
    code = f"import sys, tollway; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SDK, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_versions_and_dependencies_of_the_distribution_are_those_that_are_stated() -> None:
    project = tomllib.loads((SDK / "pyproject.toml").read_text())["project"]
    assert project["version"] == tollway.__version__
    stated = (SDK.parent / "requirements" / "sdk.in").read_text().splitlines()
    assert project["dependencies"] == [line for line in stated if not line.startswith("#")]


def test_every_public_name_is_there() -> None:
    assert [name for name in tollway.__all__ if not hasattr(tollway, name)] == []
