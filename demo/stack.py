"""The embedded stack as a child process."""

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from runtime.process import Lifeline

STOP_S = 9.0
"""A little less than the stack may take: what is left then is ended the hard way."""
_READY = "ready "


class Stack:
    """``tollwayd up``, from its start until the end of the ``with`` block."""

    def __init__(self, root: Path, data: Path, port: int) -> None:
        self._command = [
            *(sys.executable, "-m", "supervisor.cli", "up"),
            *("--port", str(port), "--data", str(data)),
        ]
        self._root = root
        self.cluster_token_file = data / "secrets" / "cluster.token"
        self._lines: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> Self:
        # Should this process be killed, the stack notices by the pipe and stops as well.
        self._lifeline = Lifeline()
        # The stack's sockets are in a private folder of its own: in this one it is found.
        self._folder = tempfile.TemporaryDirectory(prefix="tw-")
        self._process = subprocess.Popen(
            self._command,
            cwd=self._root,
            env={
                "TOLLWAY_SIGN_UP": "true",
                "TOLLWAY_PUBLIC_CATALOGUE": "true",
                **os.environ,
                **self._lifeline.environment(),
                "TMPDIR": self._folder.name,
            },
            pass_fds=(self._lifeline.child_end,),
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C changes nothing
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._lifeline.close()
        self._folder.cleanup()

    def control_url(self) -> str:
        """Where control listens for the stack's other roles, once it is ready."""
        [socket] = Path(self._folder.name).glob("*/control.sock")
        return f"unix:{socket}"

    def wait_ready(self, timeout_s: float) -> str | None:
        """The URL once the stack serves; None when it ended or took too long."""
        with contextlib.suppress(queue.Empty):
            while (line := self._lines.get(timeout=timeout_s)) is not None:
                if line.startswith(_READY):
                    return line.removeprefix(_READY).strip()
            return None
        print(f"demo: the stack was not ready within {timeout_s:.0f} s", file=sys.stderr)
        return None

    def ended(self) -> bool:
        """Whether the stack's process is gone."""
        return self._process.poll() is not None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)
