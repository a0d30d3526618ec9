"""What a deployment shows while it runs: a bar on a terminal, lines for a callback, or nothing."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from rich.progress import TaskID

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


class Bar:
    """A rich progress display on stderr."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 -- importing tollway stays light
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TransferSpeedColumn,
        )

        console = Console(stderr=True)
        self._steps: Progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            console=console,
        )
        self._bytes_columns = (
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
        )
        self._console = console
        self._upload: Progress | None = None
        self._task: TaskID | None = None
        self._upload_task: TaskID | None = None

    def __enter__(self) -> Self:
        self._steps.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_upload()
        if error is None:
            self._finish_step()
        self._steps.stop()

    def step(self, message: str) -> None:
        """Tick the step before off and show the new one."""
        self._end_upload()
        self._finish_step()
        self._task = self._steps.add_task(message, total=1)

    def uploading(self, total: int) -> None:
        """Show a bar of bytes in place of the spinner."""
        from rich.progress import Progress  # noqa: PLC0415

        self._steps.stop()
        self._upload = Progress(*self._bytes_columns, console=self._console)
        self._upload_task = self._upload.add_task("uploading", total=total)
        self._upload.start()

    def uploaded(self, sent: int) -> None:
        """Move the bar."""
        if self._upload is not None and self._upload_task is not None:
            self._upload.update(self._upload_task, completed=sent)

    def _end_upload(self) -> None:
        if self._upload is not None:
            self._upload.stop()
            self._upload = None
            self._steps.start()

    def _finish_step(self) -> None:
        if self._task is not None:
            self._steps.update(self._task, completed=1)


def reporter(choice: Choice) -> Reporter:
    """The reporter that ``progress=`` asks for."""
    if callable(choice):
        return Lines(choice)
    if choice is None:
        choice = sys.stderr.isatty()
    return Bar() if choice else Lines()
