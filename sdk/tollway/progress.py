"""What a deployment shows while it runs: a bar on a terminal, lines for a callback, or nothing."""

import json
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

EVERY_S: Final = 0.1
"""Between two lines about the same bytes or rows, but for the last."""


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


class JsonLines(Lines):
    """For programs: a JSON object a line, which ``event`` says the kind of.

    ``{"event": "step", "message": "scoring 500 rows"}``; then ``total`` and ``done`` with ``rows``
    or ``bytes`` of it. Whoever makes it may say more (:meth:`say`).
    """

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(lambda message: self.say("step", message=message))
        self._out = out
        self._clock = clock
        self._total = 0
        self._said = 0.0

    def say(self, event: str, **fields: object) -> None:
        """Write a line."""
        self._out.write(json.dumps({"event": event, **fields}) + "\n")
        self._out.flush()

    def uploading(self, total: int) -> None:
        """Of bytes."""
        self._begin("bytes", total)

    def uploaded(self, sent: int) -> None:
        """Of bytes."""
        self._count("bytes", sent)

    def counting(self, total: int) -> None:
        """Of rows."""
        self._begin("rows", total)

    def counted(self, done: int) -> None:
        """Of rows."""
        self._count("rows", done)

    def _begin(self, unit: str, total: int) -> None:
        self._total = total
        self.say("total", **{unit: total})

    def _count(self, unit: str, done: int) -> None:
        now = self._clock()
        if done < self._total and now - self._said < EVERY_S:
            return
        self._said = now
        self.say("done", **{unit: done})


Choice = bool | Callable[[str], None] | JsonLines | None
"""``progress=``: None shows a bar when stderr is a terminal; True always, False never; a function
gets one line per step, :class:`JsonLines` tell programs."""


def reporter(choice: Choice) -> Reporter:
    """The reporter that ``progress=`` asks for."""
    if isinstance(choice, JsonLines):
        return choice
    if callable(choice):
        return Lines(choice)
    if choice is None:
        choice = sys.stderr.isatty()
    if not choice:
        return Lines()
    from tollway.bar import Bar  # noqa: PLC0415 -- importing tollway stays light

    return Bar()
