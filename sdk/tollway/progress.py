"""What a deployment shows while it runs: a bar on a terminal, lines for a callback, or nothing."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

Choice = bool | Callable[[str], None] | None
"""``progress=``: None shows a bar when stderr is a terminal; True always, False never; a function
gets one line per step."""


class Reporter(Protocol):
    """Receives what happens. Used as a context manager around the whole deployment."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def step(self, message: str) -> None:
        """A new step begins."""

    def uploading(self, total: int) -> None:
        """An upload of ``total`` bytes begins."""

    def uploaded(self, sent: int) -> None:
        """``sent`` bytes of the upload have arrived so far."""

    def counting(self, total: int) -> None:
        """Work on ``total`` rows begins."""

    def counted(self, done: int) -> None:
        """``done`` rows are done so far."""


class Lines:
    """One call of ``write`` per step; with no ``write``, silence."""

    def __init__(self, write: Callable[[str], None] | None = None) -> None:
        self._write = write

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def step(self, message: str) -> None:
        """Pass the message on."""
        if self._write is not None:
            self._write(message)

    def uploading(self, total: int) -> None:
        """Bytes are for bars."""

    def uploaded(self, sent: int) -> None:
        """Bytes are for bars."""

    def counting(self, total: int) -> None:
        """Rows are for bars."""

    def counted(self, done: int) -> None:
        """Rows are for bars."""


def reporter(choice: Choice) -> Reporter:
    """The reporter that ``progress=`` asks for."""
    if callable(choice):
        return Lines(choice)
    if choice is None:
        choice = sys.stderr.isatty()
    if not choice:
        return Lines()
    from tollway.bar import Bar  # noqa: PLC0415 -- importing tollway stays light

    return Bar()
