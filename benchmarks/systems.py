"""The systems under test: each started on a free port, with a key, and stopped at the end."""

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec

import tollway
from benchmarks.models import CLASSIFIER
from benchmarks.processes import free_port, started, tail, wait_until

ROOT = Path(__file__).resolve().parent.parent
PEER_PYTHON = ROOT / "build" / "peers" / "handwritten" / "bin" / "python"
PEER_SCRIPT = ROOT / "benchmarks" / "peers" / "handwritten.py"
START_S = 90.0
APPLICATION = "bench"

HANDWRITTEN = "hand-written"
HANDWRITTEN_TUNED = "hand-written, 1 thread"
TOLLWAY = "tollway"


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A model that answers: what the load generator and the accounting need to know."""

    system: str
    pid: int
    """Root of the tree of processes whose CPU time counts."""
    port: int
    path: str
    api_key: str


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """A running ``tollwayd up``."""

    pid: int
    port: int
    data: Path
    log: Path
    token: str

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> tollway.Client:
        """The SDK, with the admin token."""
        return tollway.Client(self.url, token=self.token)

    def served(self, client: tollway.Client, model: str) -> Served:
        """``model`` as a consumer calls it, with a key of its own."""
        key = client.create_key(application=APPLICATION, model=model, plan="unlimited")
        return Served(
            system=TOLLWAY,
            pid=self.pid,
            port=self.port,
            path=f"/v2/models/{model}/infer",
            api_key=key.secret,
        )


def require_peer() -> None:
    """Raise with what to do when the peer's environment is missing."""
    if not PEER_PYTHON.exists():
        raise FileNotFoundError(f"{PEER_PYTHON} is missing: run `make bench`, which makes it")


@contextlib.contextmanager
def handwritten(graph: bytes, folder: Path, *, threads: int, system: str) -> Iterator[Served]:
    """The service of ``peers/handwritten.py`` with ``graph``; 0 threads: as ORT chooses."""
    require_peer()
    port, api_key = free_port(), secrets.token_hex(20)
    model, keys = folder / "model.onnx", folder / "keys.json"
    model.write_bytes(graph)
    keys.write_text(json.dumps({api_key: APPLICATION}))
    log = folder / "handwritten.log"
    command = [str(PEER_PYTHON), str(PEER_SCRIPT), str(model), "--keys", str(keys)]
    command += ["--port", str(port), "--threads", str(threads)]
    with started(command, log) as process:
        url = f"http://127.0.0.1:{port}/health"
        wait_until(lambda: _answers(url), process=process, log=log, timeout_s=START_S)
        yield Served(
            system=system,
            pid=process.pid,
            port=port,
            path=f"/v2/models/{CLASSIFIER}/infer",
            api_key=api_key,
        )


@contextlib.contextmanager
def stack(folder: Path, *, workers: int = 1, port: int | None = None) -> Iterator[Stack]:
    """``tollwayd up`` with everything on: keys, usage, metrics."""
    port = port or free_port()
    data, log = folder / "data", folder / "tollway.log"
    command = [sys.executable, "-m", "supervisor.cli", "up", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--data", str(data), "--workers", str(workers)]
    with started(command, log, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        wait_until(lambda: _said_ready(log), process=process, log=log, timeout_s=START_S)
        token = (data / "admin.token").read_text().strip()
        try:
            yield Stack(pid=process.pid, port=port, data=data, log=log, token=token)
        except Exception as error:
            error.add_note(f"the last lines of the stack:\n{tail(log)}")
            raise


def _said_ready(log: Path) -> bool:
    return any(
        line.startswith("ready http") for line in log.read_text(errors="replace").split("\n")
    )


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
