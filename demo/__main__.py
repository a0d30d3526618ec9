"""Starts the embedded stack, has :mod:`demo.publish` fill it, and serves until Ctrl-C.

DEMO_PORT (8080), DEMO_DATA (data/demo in the checkout); DEMO_ONCE=1 runs the curl lines that are
printed, checks the answers, stops, and exits with 0 or 1.

Training and deploying happen in a process of their own, which ends when it is done: what goes on
running is the stack, and nothing of scikit-learn.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

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
    with Stack(ROOT, data, int(port)) as stack:
        publisher = _publisher(data, once=once)
        try:
            url = stack.wait_ready(START_TIMEOUT_S)
            if url is None:
                return 1  # the stack has said why
            print(f"ready {url} after {time.monotonic() - began:.1f} s", flush=True)
            _tell(publisher, url)
            while publisher.poll() is None:
                if stack.ended():
                    print("demo: the stack has stopped; see its messages above", file=sys.stderr)
                    return 1
                time.sleep(POLL_S)
            if publisher.returncode != 0 or once:
                return 1 if publisher.returncode else 0
            print("\nserving until Ctrl-C", flush=True)
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


def _publisher(data: Path, *, once: bool) -> subprocess.Popen[str]:
    """Started before the stack is ready: it trains meanwhile, and waits for the URL on stdin."""
    command = [sys.executable, "-m", "demo.publish", str(data / "admin.token")]
    # The stack's start goes first where processors are few.
    polite = ["nice", "-n", "10"] if shutil.which("nice") else []
    return subprocess.Popen(
        [*polite, *command, *(["--check"] if once else [])],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, which stops the others in order
    )


def _tell(publisher: subprocess.Popen[str], url: str) -> None:
    assert publisher.stdin is not None
    try:
        publisher.stdin.write(url + "\n")
        publisher.stdin.close()
    except BrokenPipeError:
        publisher.wait()  # it has failed, and said why


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
