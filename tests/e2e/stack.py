"""The real embedded stack as a process, for tests."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import psutil

import tollway

READY_WITHIN_S = 60.0


class RunningStack:
    """``tollwayd up`` on a free port. Use as a context manager."""

    def __init__(
        self,
        data: Path,
        *arguments: str,
        log: Path | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        """``log``: file that all roles' logs go to; None: where the test's own go. ``settings``:
        environment variables for the roles."""
        self.data = data
        self.settings = settings or {}
        self._log = log
        self._arguments = arguments
        self.url = ""
        self.process: subprocess.Popen[str] | None = None
        self._known: list[int] = []

    def __enter__(self) -> "RunningStack":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and wait for the ``ready`` line."""
        command = [sys.executable, "-m", "supervisor.cli", "up", "--port", "0", "--data"]
        with contextlib.ExitStack() as opened:
            log = None if self._log is None else opened.enter_context(self._log.open("ab"))
            self.process = subprocess.Popen(
                [*command, str(self.data), *self._arguments],
                stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | self.settings,
            )  # fmt: skip
        lines: queue.Queue[str] = queue.Queue()
        output = self.process.stdout
        assert output is not None

        def read() -> None:
            for line in output:
                lines.put(line)

        threading.Thread(target=read, daemon=True).start()
        try:
            line = lines.get(timeout=READY_WITHIN_S)
        except queue.Empty:
            self.stop()
            raise AssertionError("the stack did not say that it is ready") from None
        assert line.startswith("ready http://"), line
        self.url = line.split()[1]

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.all_pids()
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    @property
    def token(self) -> str:
        """The admin token."""
        return (self.data / "admin.token").read_text().strip()

    def client(self) -> tollway.Client:
        """A client with the admin token."""
        return tollway.Client(self.url, token=self.token)

    def api(self, key: str | None = None) -> httpx.Client:
        """Plain HTTP, with an API key or the admin token."""
        headers = {"X-API-Key": key} if key else {"Authorization": f"Bearer {self.token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def pids(self, title: str) -> list[int]:
        """Processes of this stack whose title begins with ``tollwayd: TITLE``."""
        assert self.process is not None
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if " ".join(child.cmdline()).startswith(f"tollwayd: {title}"):
                    found.append(child.pid)
            except psutil.Error:
                continue  # it has just ended
        return found

    def all_pids(self) -> list[int]:
        """Every process below the supervisor."""
        assert self.process is not None
        self._known = [c.pid for c in psutil.Process(self.process.pid).children(recursive=True)]
        return self._known

    def pids_gone(self, pids: list[int] | None = None) -> bool:
        """Whether none of the processes runs any more."""
        return not any(_runs(pid) for pid in (self._known if pids is None else pids))

    def kill(self, title: str) -> int:
        """SIGKILL one process of this stack; its pid."""
        pid = self.pids(title)[0]
        os.kill(pid, signal.SIGKILL)
        return pid


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(condition: object, within_s: float = 20.0) -> None:
    """Wait until ``condition()`` is true: for what other processes bring about."""
    assert callable(condition)
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
