"""Inspection of an ONNX bundle, in a fresh process with bounded time and memory.

What a publisher sends is not trusted: a file that makes the parser run away or crash takes a
process with it that was there for nothing else. This process never loads ``onnx`` or ``numpy``.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import msgspec

from protocol.errors import Code, TollwayError
from protocol.manifest import Additive, Tensor

SIZE_FACTOR = 4
"""Bytes of memory allowed for each byte of the artifact: its text, parsed, and the checker's."""


class Inspection(msgspec.Struct, frozen=True, kw_only=True):
    """What the graph says of itself."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opsets: dict[str, int]
    ir_version: int
    additive: tuple[Additive, ...] = ()


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why the bundle cannot be served, in words for the publisher."""

    refused: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the inspection process is asked, as JSON on its standard input."""

    artifact: str
    files: dict[str, int]
    """Relative path -> bytes of the external data files."""
    memory_bytes: int
    cpu_s: int


class Inspect(Protocol):
    """A way to inspect; :func:`inspect_bundle` is the one."""

    def __call__(
        self, artifact: Path, files: dict[str, int], *, timeout_s: float, memory_bytes: int
    ) -> Inspection:
        """See :func:`inspect_bundle`."""
        ...


def inspect_bundle(
    artifact: Path, files: dict[str, int], *, timeout_s: float, memory_bytes: int
) -> Inspection:
    """Inspect ``artifact``, whose external data ``files`` (path -> bytes) lie beside it.

    Raises ``INVALID_MODEL`` with the reason.
    """
    job = Job(
        artifact=str(artifact),
        files=files,
        memory_bytes=memory_bytes + SIZE_FACTOR * artifact.stat().st_size,
        cpu_s=int(timeout_s) + 1,
    )
    try:
        # -P and a neutral folder: nothing that the bundle contains can be imported.
        done = subprocess.run(
            [sys.executable, "-P", "-B", "-m", "registry.inspect_child"],
            input=msgspec.json.encode(job),
            capture_output=True,
            cwd="/",
            env=_environment(),
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TollwayError(
            Code.INVALID_MODEL, f"inspecting the model took longer than {timeout_s:g} s"
        ) from None
    if done.returncode != 0:
        raise TollwayError(
            Code.INVALID_MODEL,
            "inspecting the model failed: the file makes the ONNX parser crash or exceed its "
            "memory; is it a sound ONNX file?",
            f"exit {done.returncode}: {done.stderr[-2000:].decode(errors='replace')}",
        )
    answer = msgspec.json.decode(done.stdout, type=dict[str, msgspec.Raw])
    if "refused" in answer:
        refusal = msgspec.json.decode(done.stdout, type=Refusal)
        raise TollwayError(Code.INVALID_MODEL, refusal.refused)
    return msgspec.json.decode(done.stdout, type=Inspection)


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parent.parent)
    return {
        "PATH": os.environ.get("PATH", ""),
        "PYTHONPATH": root,
        # Threads of the numeric libraries reserve address space, which is what is bounded here.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
