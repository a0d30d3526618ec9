"""The roles started one by one, as on several machines: nobody restarts what is killed."""

import contextlib
import os
import secrets
import subprocess
import sys
from pathlib import Path

import httpx

from benchmarks.kills.victims import wait_for
from benchmarks.processes import free_port, started
from benchmarks.systems import ROOT, START_S, Stack


class Roles:
    """``tollwayd control``, ``worker`` and ``gateway`` as processes of their own."""

    def __init__(self, folder: Path, cleanup: contextlib.ExitStack) -> None:
        self._cleanup = cleanup
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.data = folder / "data"
        self.log = folder / "roles.log"
        self.port = free_port()
        self.data.mkdir()
        for name in ("cluster.token", "key.pepper"):
            (folder / name).write_text(secrets.token_hex(32))
        (folder / "run").mkdir(mode=0o700)
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TOLLWAY_DATA_DIR": str(self.data),
            "TOLLWAY_LOG_LEVEL": "warning",
            "TOLLWAY_CLUSTER_TOKEN_FILE": str(folder / "cluster.token"),
            "TOLLWAY_KEY_PEPPER_FILE": str(folder / "key.pepper"),
            "TOLLWAY_ADMIN_TOKEN_FILE": str(self.data / "admin.token"),
            "TOLLWAY_CONTROL_URL": f"unix:{folder}/control.sock",
            "TOLLWAY_BIND": f"unix:{folder}/control.sock",
            "TOLLWAY_HOST": "127.0.0.1",
            "TOLLWAY_PORT": str(self.port),
            "TOLLWAY_WORKER_ID": "worker-1",
            "TOLLWAY_RUN_DIR": str(folder / "run"),
        }

    def start(self, role: str) -> None:
        """Start ``control``, ``worker`` or ``gateway``."""
        command = [sys.executable, "-m", "supervisor.cli", role]
        process = started(command, self.log, env=self._environment)
        self._processes[role] = self._cleanup.enter_context(process)

    def kill(self, role: str) -> None:
        """SIGKILL, and wait until it is gone."""
        self._processes[role].kill()
        self._processes[role].wait()

    def start_all(self) -> Stack:
        """Start every role; returns when the gateway can reach control."""
        for role in ("control", "worker", "gateway"):
            self.start(role)
        self.wait_for_path("/readyz")
        token = (self.data / "admin.token").read_text().strip()
        pid = self._processes["gateway"].pid
        return Stack(pid=pid, port=self.port, data=self.data, log=self.log, token=token)

    def wait_for_path(self, path: str) -> None:
        """Until the gateway answers ``path`` with 200."""
        url = f"http://127.0.0.1:{self.port}{path}"
        wait_for(lambda: _is_ok(url), START_S, f"{path} did not answer 200")


def _is_ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
