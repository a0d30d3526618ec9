"""Progress on a terminal: a line per step, a bar where bytes travel or rows are scored."""

from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.table import Column
from rich.text import Text


class _ForUnits(ProgressColumn):
    """Shows another column for the tasks that count one of these units, and nothing for others."""

    def __init__(self, shown: ProgressColumn, *units: str) -> None:
        super().__init__(Column(no_wrap=True))
        self._shown = shown
        self._units = units

    def render(self, task: Task) -> RenderableType:
        """The column's own rendering, or nothing."""
        return self._shown(task) if task.fields.get("unit") in self._units else Text("")


class Bar:
    """A rich progress display on stderr, see :class:`tollway.progress.Reporter`."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/green]"),
            TextColumn("{task.description}", markup=False),
            _ForUnits(BarColumn(bar_width=30), "bytes", "rows"),
            _ForUnits(DownloadColumn(), "bytes"),
            _ForUnits(MofNCompleteColumn(), "rows"),
            console=Console(stderr=True),
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._finish()
        elif self._task is not None:
            self._progress.remove_task(self._task)  # the error says what failed
        self._progress.stop()

    def step(self, message: str) -> None:
        """Tick the step before off and show the new one."""
        self._finish()
        self._task = self._progress.add_task(message, total=None)

    def uploading(self, total: int) -> None:
        """Give the present step a bar of ``total`` bytes."""
        if self._task is not None:
            self._progress.update(self._task, total=total, unit="bytes")

    def uploaded(self, sent: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._progress.update(self._task, completed=sent)

    def counting(self, total: int) -> None:
        """Give the present step a bar of ``total`` rows."""
        if self._task is not None:
            self._progress.update(self._task, total=total, unit="rows")

    def counted(self, done: int) -> None:
        """Move the bar."""
        self.uploaded(done)

    def _finish(self) -> None:
        if self._task is not None:
            task = self._progress.tasks[self._progress.task_ids.index(self._task)]
            total = task.total if task.total is not None else 1
            self._progress.update(self._task, total=total, completed=total)
