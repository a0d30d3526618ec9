"""The evaluations that this process runs, and those that ended lately. In memory: a restart of
control ends them, and forgets them."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import IO, Final

from control.evaluations.command import arguments, environment, library_folder
from control.evaluations.process import run_process
from control.evaluations.progress import Progress
from control.evaluations.resources import EvaluationFailure, EvaluationInput, EvaluationRun, State
from control.settings import ControlSettings
from protocol.errors import Code, TollwayError
from registry.clock import Clock, rfc3339
from runtime.logs import logger

KEPT_RUNS: Final = 50
"""That have ended."""
COME_BACK_S: Final = 30


Runner = Callable[[Sequence[str], dict[str, str], IO[bytes], Progress, float], Awaitable[None]]
"""As :func:`control.evaluations.process.run_process`."""


class _Run:
    def __init__(
        self, model: str, number: int, wish: EvaluationInput, actor: str, now: int
    ) -> None:
        self.id = secrets.token_hex(16)
        self.model = model
        self.number = number
        self.wish = wish
        self.actor = actor
        self.started_ms = now
        self.ended_ms: int | None = None
        self.state: State = "running"
        self.progress = Progress()
        self.task: asyncio.Task[None] | None = None

    def shown(self) -> EvaluationRun:
        progress, wish = self.progress, self.wish
        return EvaluationRun(
            id=self.id,
            model=self.model,
            version=self.number,
            state=self.state,
            rows_name=wish.rows_name,
            target=wish.target,
            segments=wish.segments,
            importance=wish.importance,
            latency=wish.latency,
            done=tuple(progress.done),
            step=progress.step,
            rows=progress.rows,
            of_rows=progress.of_rows,
            started_at=rfc3339(self.started_ms),
            started_by=self.actor,
            ended_at=None if self.ended_ms is None else rfc3339(self.ended_ms),
            evidence=progress.digest,
            failure=progress.failure,
        )


class Evaluations:
    """Runs evaluations, a few at once. Belongs to the event loop."""

    def __init__(
        self, settings: ControlSettings, clock: Clock, run_process: Runner = run_process
    ) -> None:
        self._run_process = run_process
        self._settings = settings
        self._clock = clock
        self._library = library_folder()
        self._runs: dict[str, _Run] = {}
        self._begun = 0
        """Those that run, or are about to."""
        self._closed = False

    @property
    def unavailable(self) -> str:
        """Why none are run here; empty: they are."""
        if self._settings.evaluations_max == 0:
            return "this installation runs no evaluations (TOLLWAY_EVALUATIONS_MAX is 0)"
        if self._library is None:
            return "the client library is not installed where control runs"
        if not self._settings.evaluations_url:
            return "control is not told where a gateway is (TOLLWAY_GATEWAY_URL)"
        return ""

    async def start(
        self,
        model: str,
        number: int,
        wish: EvaluationInput,
        take: Callable[[], Awaitable[IO[bytes]]],
        *,
        actor: str,
        secret: str,
    ) -> EvaluationRun:
        """Begin an evaluation of the rows that ``take`` gives, as whoever has ``secret``.

        Raises ``UNAVAILABLE`` before it takes them when none are run here, or as many as may.
        """
        if reason := self.unavailable:
            raise TollwayError(Code.UNAVAILABLE, f"{reason}: evaluate with the client library")
        if self._closed:
            raise TollwayError(Code.UNAVAILABLE, "the server is being stopped")
        if self._begun >= self._settings.evaluations_max:
            raise TollwayError(
                Code.UNAVAILABLE,
                f"as many evaluations run now as may ({self._begun}): try again when one has ended",
                retry_after_s=COME_BACK_S,
            )
        self._begun += 1
        try:
            rows = await take()
        except BaseException:
            self._begun -= 1
            raise
        run = _Run(model, number, wish, actor, self._clock())
        self._runs[run.id] = run
        run.task = asyncio.create_task(self._run(run, rows, secret), name=f"evaluation-{run.id}")
        run.task.add_done_callback(lambda _task: self._ended(run, rows))
        self._forget()
        return run.shown()

    def of(self, model: str, number: int) -> list[EvaluationRun]:
        """Those of a version, the newest first."""
        found = [run for run in self._runs.values() if (run.model, run.number) == (model, number)]
        return [run.shown() for run in reversed(found)]

    def get(self, model: str, number: int, id: str) -> EvaluationRun:
        """One of a version. Raises ``NOT_FOUND``."""
        return self._known(model, number, id).shown()

    async def cancel(self, model: str, number: int, id: str) -> None:
        """End it if it runs; its process is gone then. Raises ``NOT_FOUND``."""
        await self._end([self._known(model, number, id)])

    async def close(self) -> None:
        """End all: the process stops."""
        self._closed = True
        await self._end(list(self._runs.values()))

    @staticmethod
    async def _end(runs: list[_Run]) -> None:
        tasks = [run.task for run in runs if run.task is not None and not run.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # what they raise, _ended logs

    async def _run(self, run: _Run, rows: IO[bytes], secret: str) -> None:
        assert self._library is not None  # else it would not have begun
        settings = self._settings
        size = os.fstat(rows.fileno()).st_size
        try:
            await self._run_process(
                arguments(run.model, run.number, run.wish, settings, size),
                environment(settings, secret, self._library),
                rows,
                run.progress,
                settings.evaluation_timeout_s,
            )
        except OSError as error:
            logger("evaluations").error("an evaluation could not be started", error=repr(error))
            run.progress.failure = EvaluationFailure(
                about="", detail="its process could not be started: try again in a moment"
            )

    def _ended(self, run: _Run, rows: IO[bytes]) -> None:
        rows.close()
        self._begun -= 1
        run.ended_ms = self._clock()
        progress, task = run.progress, run.task
        if progress.digest is not None:
            run.state, progress.failure = "kept", None
        elif task is not None and task.cancelled():
            run.state = "cancelled"
        else:
            run.state = "failed"
            error = None if task is None else task.exception()
            if error is not None:
                logger("evaluations").error("an evaluation failed", error=repr(error))
                progress.failure = EvaluationFailure(about="", detail="a defect of the server")

    def _known(self, model: str, number: int, id: str) -> _Run:
        run = self._runs.get(id)
        if run is None or (run.model, run.number) != (model, number):
            raise TollwayError(
                Code.NOT_FOUND,
                "there is no such evaluation here: a restart of the server ends those that run "
                "and forgets all; what was kept is in the version's evidence",
            )
        return run

    def _forget(self) -> None:
        ended = [run.id for run in self._runs.values() if run.state != "running"]
        for id in ended[:-KEPT_RUNS]:
            del self._runs[id]
