"""More gateways beside the one of an embedded stack, as processes of their own."""

import contextlib
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
COMMAND = (sys.executable, "-m", "supervisor.cli", "gateway")


class MoreGateways:
    """``tollwayd gateway`` of the same installation. Use as a context manager."""

    def __init__(
        self,
        stack: RunningStack,
        folder: Path,
        count: int,
        *,
        log: Path | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        """``log``: file that their output goes to; None: where the test's own goes. ``settings``:
        environment variables beside the stack's."""
        self._log = log
        self._settings = settings or {}
        self._stack = stack
        self._folder = folder
        self._count = count
        self._lifeline = Lifeline()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.urls: list[str] = []

    def __enter__(self) -> "MoreGateways":
        for number in range(self._count):
            port = free_port()
            self.urls.append(f"http://127.0.0.1:{port}")
            settings = settings_of(self._stack, self._folder / f"gateway-{number}", port)
            environment = {**os.environ, **settings, **self._settings}
            with contextlib.ExitStack() as opened:
                log = None if self._log is None else opened.enter_context(self._log.open("ab"))
                self._processes.append(
                    subprocess.Popen(
                        COMMAND,
                        cwd=ROOT,
                        env=environment | self._lifeline.environment(),
                        pass_fds=(self._lifeline.child_end,),
                        stdout=log,
                        stderr=log,
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

    def pids(self) -> list[int]:
        """The gateways' processes."""
        return [process.pid for process in self._processes]


def refused_gateway(stack: RunningStack, folder: Path, settings: dict[str, str]) -> str:
    """What a gateway says on stderr that must not start beside the stack's."""
    ended = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env={**os.environ, **settings_of(stack, folder, free_port()), **settings},
        capture_output=True,
        text=True,
        timeout=READY_WITHIN_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    return ended.stderr


def settings_of(stack: RunningStack, folder: Path, port: int) -> dict[str, str]:
    """Environment variables for a gateway of the stack's installation."""
    secrets = stack.data / "secrets"
    return {
        "TOLLWAY_CONTROL_URL": f"unix:{control_socket(stack)}",
        "TOLLWAY_CLUSTER_TOKEN_FILE": str(secrets / "cluster.token"),
        "TOLLWAY_KEY_PEPPER_FILE": str(secrets / "key.pepper"),
        "TOLLWAY_HOST": "127.0.0.1",
        "TOLLWAY_LOG_LEVEL": "warning",
        **stack.settings,
        "TOLLWAY_DATA_DIR": str(folder),
        "TOLLWAY_PORT": str(port),
    }


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
