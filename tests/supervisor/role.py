"""A role that does what its environment says."""

import os
import signal
import sys
from pathlib import Path


def main() -> None:
    """Note the start; then fail, wait for SIGTERM, or ignore it."""
    with Path(os.environ["ROLE_LOG"]).open("a") as file:
        file.write(f"{os.getpid()}\n")
    behaviour = os.environ["ROLE_BEHAVIOUR"]
    if behaviour == "fail":
        sys.exit(3)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        signal.pause()
