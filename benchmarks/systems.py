"""The systems under test: each started on a free port, with a key, and stopped at the end."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

import tollway
from benchmarks.processes import free_port, started, tail, wait_until

ROOT = Path(__file__).resolve().parent.parent
START_S = 90.0
APPLICATION = "bench"

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
