"""SIGTERM ends a run as Ctrl-C does, so that what it started is stopped either way."""

import signal
from types import FrameType


def end_on_sigterm() -> None:
    """Turn SIGTERM into KeyboardInterrupt in the main thread."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
