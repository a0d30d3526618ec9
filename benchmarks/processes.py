"""CPU time and memory of a tree of processes, by role; starting and stopping of such trees."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil

from runtime.process import Lifeline

TITLE = "tollwayd: "
STOP_S = 15.0
TAIL_LINES = 25
LINE_LENGTH = 600


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the processes of one role. Shared pages count fully in RSS, by share in PSS."""

    role: str
    processes: int
    rss_mb: float
    pss_mb: float | None
    """None where the system does not tell (macOS)."""


def tree(pid: int) -> list[psutil.Process]:
    """The process ``pid`` and everything below it that is alive."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def role_of(process: psutil.Process, root: int) -> str:
    """``gateway``, ``control``, ``worker``, ``engine`` by the title; ``main`` for the root."""
    line = " ".join(process.cmdline())
    if line.startswith(TITLE):
        return line.removeprefix(TITLE).split(maxsplit=1)[0]
    return "main" if process.pid == root else "other"


def cpu_by_role(pid: int) -> dict[str, float]:
    """User and system seconds so far. Those of children that ended are in their parent's role."""
    seconds: defaultdict[str, float] = defaultdict(float)
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            own = times.user + times.system
            ended = times.children_user + times.children_system
            seconds[role_of(process, pid)] += own + ended
    return dict(seconds)


def cpu_between(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What each role used between two calls of :func:`cpu_by_role`."""
    roles = sorted(before.keys() | after.keys())
    return {role: round(after.get(role, 0.0) - before.get(role, 0.0), 3) for role in roles}


def memory_by_role(pid: int) -> list[Memory]:
    """Resident memory of each role of the tree, the largest first."""
    rss: Counter[str] = Counter()
    pss: Counter[str] = Counter()
    count: Counter[str] = Counter()
    told = True
    for process in tree(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            full = process.memory_full_info()
            role = role_of(process, pid)
            rss[role] += full.rss
            told = told and hasattr(full, "pss")
            pss[role] += getattr(full, "pss", 0)
            count[role] += 1
    return [
        Memory(
            role=role,
            processes=count[role],
            rss_mb=round(bytes_ / 1e6, 1),
            pss_mb=round(pss[role] / 1e6, 1) if told else None,
        )
        for role, bytes_ in rss.most_common()
    ]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def started(
    command: list[str],
    log: Path,
    env: dict[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` in ``folder``, its output in ``log``; stop it and its children at the end.

    It gets a session of its own, so that Ctrl-C reaches it only through this orderly stop, and a
    lifeline, by which Tollway's roles end even if this process is killed.
    """
    lifeline = Lifeline()
    environment = {**(os.environ if env is None else env), **lifeline.environment()}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
            pass_fds=(lifeline.child_end,),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)
        lifeline.close()


def tail(log: Path) -> str:
    """The last lines of ``log``, each cut to a readable length."""
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join(line[-LINE_LENGTH:] for line in lines)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL for what is left of the tree after ``STOP_S``."""
    if process.poll() is not None:
        return
    # psutil knows a process by its id and start time: a reused id is never signalled.
    family = tree(process.pid)
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


def wait_until(
    ready: Callable[[], bool], *, process: subprocess.Popen[bytes], log: Path, timeout_s: float
) -> None:
    """Poll ``ready()`` until it is true. Raises with the end of ``log`` if it does not happen."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            state = "has ended" if process.poll() is not None else "is not ready"
            raise RuntimeError(f"{process.args!r} {state}; its last lines:\n{tail(log)}")
        time.sleep(0.05)
