"""Starts the embedded stack, has :mod:`demo.publish` fill it, and serves until Ctrl-C, with
:mod:`demo.traffic` calling.

DEMO_PORT (8080), DEMO_DATA (data/demo in the checkout); DEMO_ONCE=1 runs the curl lines that are
printed, checks the answers and the portal's pages, stops, and exits with 0 or 1.

Training and deploying happen in a process of their own, which ends when it is done: what goes on
running is the stack, and nothing of scikit-learn.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import msgspec

from demo.stack import Stack

ROOT = Path(__file__).resolve().parent.parent
POLL_S = 0.1
START_TIMEOUT_S = 120.0


def main() -> int:
    """Run the demo; returns the exit code."""
    once = os.environ.get("DEMO_ONCE", "") not in ("", "0")
    port = os.environ.get("DEMO_PORT", "8080")
    data = Path(os.environ.get("DEMO_DATA", ROOT / "data" / "demo"))
    if not port.isdecimal():
        print(f"demo: DEMO_PORT is {port!r}, but a port is a number", file=sys.stderr)
        return 1
    # SIGINT too: a shell's background job starts with it ignored, and Python leaves that so.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    began = time.monotonic()
    print(f"starting the stack on {data} ...", flush=True)
    with Stack(ROOT, data, int(port)) as stack, _traffic() as order:
        publisher = _publisher(data, order, once=once)
        try:
            url = stack.wait_ready(START_TIMEOUT_S)
            if url is None:
                return 1  # the stack has said why
            print(f"ready {url} after {time.monotonic() - began:.1f} s", flush=True)
            _tell(publisher, url, stack)
            while publisher.poll() is None:
                if stack.ended():
                    print("demo: the stack has stopped; see its messages above", file=sys.stderr)
                    return 1
                time.sleep(POLL_S)
            if publisher.returncode != 0 or once:
                return 1 if publisher.returncode else 0
            print(
                f"\nserving until Ctrl-C, {time.monotonic() - began:.0f} s after the start",
                flush=True,
            )
            while not stack.ended():
                time.sleep(POLL_S)
            print("demo: the stack has stopped; see its messages above", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nstopping", flush=True)
            return 1 if once else 0
        finally:
            if publisher.poll() is None:
                publisher.terminate()
            publisher.wait()


@contextlib.contextmanager
def _traffic() -> Iterator[int]:
    """A process that calls as it is told through the descriptor, and ends when that is closed."""
    hears, order = os.pipe()
    process = subprocess.Popen(
        [*_polite(), sys.executable, "-m", "demo.traffic"],
        cwd=ROOT,
        stdin=hears,
        start_new_session=True,
    )
    os.close(hears)
    try:
        yield order
    finally:
        os.close(order)
        process.terminate()
        process.wait()


def _publisher(data: Path, order: int, *, once: bool) -> subprocess.Popen[str]:
    """Started before the stack is ready: it trains meanwhile, and waits for the URL on stdin."""
    command = [sys.executable, "-m", "demo.publish", str(data / "admin.token"), str(order)]
    return subprocess.Popen(
        [*_polite(), *command, *(["--check"] if once else [])],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        pass_fds=(order,),
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, which stops the others in order
    )


def _polite() -> list[str]:
    """The stack goes first where processors are few."""
    return ["nice", "-n", "10"] if shutil.which("nice") else []


def _tell(publisher: subprocess.Popen[str], url: str, stack: Stack) -> None:
    place = {
        "url": url,
        "control": stack.control_url(),
        "cluster_token_file": str(stack.cluster_token_file),
    }
    assert publisher.stdin is not None
    try:
        publisher.stdin.write(msgspec.json.encode(place).decode() + "\n")
        publisher.stdin.close()
    except BrokenPipeError:
        publisher.wait()  # it has failed, and said why


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
