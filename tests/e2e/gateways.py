"""More gateways beside the one of an embedded stack, as processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from benchmarks.processes import free_port
from runtime.process import Lifeline
from tests.e2e.stack import READY_WITHIN_S, RunningStack, eventually

ROOT = Path(__file__).parents[2]


class MoreGateways:
    """``tollwayd gateway`` of the same installation. Use as a context manager."""

    def __init__(self, stack: RunningStack, folder: Path, count: int) -> None:
        self._stack = stack
        self._folder = folder
        self._count = count
        self._lifeline = Lifeline()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.urls: list[str] = []

    def __enter__(self) -> "MoreGateways":
        secrets = self._stack.data / "secrets"
        shared = {
            "TOLLWAY_CONTROL_URL": f"unix:{control_socket(self._stack)}",
            "TOLLWAY_CLUSTER_TOKEN_FILE": str(secrets / "cluster.token"),
            "TOLLWAY_KEY_PEPPER_FILE": str(secrets / "key.pepper"),
            "TOLLWAY_HOST": "127.0.0.1",
            "TOLLWAY_LOG_LEVEL": "warning",
            **self._stack.settings,
        }
        for number in range(self._count):
            port = free_port()
            self.urls.append(f"http://127.0.0.1:{port}")
            settings = {
                "TOLLWAY_DATA_DIR": str(self._folder / f"gateway-{number}"),
                "TOLLWAY_PORT": str(port),
            }
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "supervisor.cli", "gateway"],
                    cwd=ROOT,
                    env={**os.environ, **shared, **settings, **self._lifeline.environment()},
                    pass_fds=(self._lifeline.child_end,),
                )
            )
        for url in self.urls:
            eventually(lambda url=url: is_ready(url), READY_WITHIN_S)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(timeout=30)
        self._lifeline.close()


def control_socket(stack: RunningStack) -> str:
    """Where the stack's control listens: in a private folder, which it alone knows."""
    (pid,) = stack.pids("control")
    addresses = {str(c.laddr) for c in psutil.Process(pid).net_connections("unix")}
    (found,) = (address for address in addresses if address.endswith("/control.sock"))
    return found


def is_ready(url: str) -> bool:
    """Whether the gateway at ``url`` would answer a prediction."""
    try:
        return httpx.get(f"{url}/v2/health/ready", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
