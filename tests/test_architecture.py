"""Rules of the architecture that import-linter cannot say: which files may know a library."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVER = ("protocol", "policies", "gateway", "registry", "serving", "control", "runtime",
          "supervisor", "monitoring")  # fmt: skip


@cache
def imported() -> dict[str, set[str]]:
    """The libraries that each module of the server imports. Read once: it takes
    seconds."""
    found: dict[str, set[str]] = {}
    for package in SERVER:
        for path in sorted((ROOT / package).rglob("*.py")):
            names = found.setdefault(str(path.relative_to(ROOT)), set())
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names.update(alias.name.split(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    names.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("fastapi", r".*/(app|routes[a-z_]*|middleware)\.py|control/portal/.*"),
        ("starlette", r".*/(app|routes[a-z_]*|middleware)\.py|control/portal/.*"),
        ("sqlalchemy", r"(registry|control)/store/.*"),
        ("alembic", r"control/store/.*"),
        ("redis", r"policies/stores/.*"),
        ("onnxruntime", r"serving/session\.py"),
        ("onnx", r"registry/(additive|inspect_child|graph|bundle|fit)\.py"),
    ],
)
def test_library_is_known_only_where_it_belongs(library: str, allowed: str) -> None:
    importers = [path for path, libraries in imported().items() if library in libraries]
    assert [path for path in importers if not re.fullmatch(allowed, path)] == []


def test_modules_stay_readable() -> None:
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for package in (*SERVER, "sdk", "demo", "benchmarks")
        for path in (ROOT / package).rglob("*.py")
    }
    assert [name for name, lines in sizes.items() if lines > 400] == []
    assert len((ROOT / "gateway" / "invoke.py").read_text().splitlines()) <= 200
