"""The evaluations that this process runs. How far they are is told to the database, where every
control process sees them, and may ask the one that runs one to end it. A restart of that process
ends them, and so does the end of the session or token that began one."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import IO, Final, NamedTuple

from anyio import to_thread

from control.evaluations.command import arguments, environment, library_folder
from control.evaluations.process import run_process
from control.evaluations.progress import Progress, abandoned
from control.evaluations.resources import EvaluationFailure, EvaluationInput, EvaluationRun, State
from control.settings import ControlSettings
from control.store.evaluation_runs import EvaluationRunStore
from control.store.failures import DatabaseError
from protocol.errors import Code, TollwayError
from registry.clock import Clock, rfc3339
from runtime.logs import logger

COME_BACK_S: Final = 30
TELL_S: Final = 1.0
"""Between two times that the database is told of what runs, and asked what is to end."""

Runner = Callable[[Sequence[str], dict[str, str], IO[bytes], Progress, float], Awaitable[None]]
"""As :func:`control.evaluations.process.run_process`."""


class Holder(NamedTuple):
    """As whom an evaluation is made."""

    name: str
    secret: str
    stands: Callable[[], Awaitable[bool]]
    """Whether the secret is still one."""


class _Run:
    def __init__(
        self, model: str, number: int, wish: EvaluationInput, holder: Holder, now: int
    ) -> None:
        self.id = secrets.token_hex(16)
        self.model = model
        self.number = number
        self.wish = wish
        self.holder = holder
        self.abandoned = False
        """It is ended because the holder's secret has ended."""
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
            started_by=self.holder.name,
            ended_at=None if self.ended_ms is None else rfc3339(self.ended_ms),
            evidence=progress.digest,
            failure=progress.failure,
        )


class Evaluations:
    """Runs evaluations, a few at once. Belongs to the event loop."""

    def __init__(
        self,
        settings: ControlSettings,
        clock: Clock,
        store: EvaluationRunStore,
        run_process: Runner = run_process,
    ) -> None:
        self._run_process = run_process
        self._settings = settings
        self._clock = clock
        self._store = store
        self._library = library_folder()
        self._runs: dict[str, _Run] = {}
        """Those whose end the database has not been told."""
        self._writing = asyncio.Lock()
        """Held while it is told, so that a run's end comes last."""
        self._teller: asyncio.Task[None] | None = None
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
        holder: Holder,
    ) -> EvaluationRun:
        """Begin an evaluation of the rows that ``take`` gives, as ``holder``.

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
        run = _Run(model, number, wish, holder, self._clock())
        try:
            rows = await take()
            try:
                await to_thread.run_sync(self._store.begin, run.shown())
            except BaseException:
                rows.close()
                raise
        except BaseException:
            self._begun -= 1
            raise
        self._runs[run.id] = run
        run.task = asyncio.create_task(self._run(run, rows), name=f"evaluation-{run.id}")
        run.task.add_done_callback(lambda _task: self._ended(run, rows))
        if self._teller is None or self._teller.done():
            self._teller = asyncio.create_task(self._keep_telling(), name="evaluations")
        return run.shown()

    async def of(self, model: str, number: int) -> list[EvaluationRun]:
        """Those of a version, the newest first, whichever process runs them."""
        found = await to_thread.run_sync(self._store.of, model, number)
        # Of those that run here, what is known here is newer.
        return [self._runs[one.id].shown() if one.id in self._runs else one for one in found]

    async def get(self, model: str, number: int, id: str) -> EvaluationRun:
        """One of a version. Raises ``NOT_FOUND``."""
        if (run := self._here(model, number, id)) is not None:
            return run.shown()
        found = await to_thread.run_sync(self._store.get, model, number, id)
        if found is None:
            raise _unknown()
        return found

    async def cancel(self, model: str, number: int, id: str) -> None:
        """End it if it runs: here, its process is gone then; the process that runs it elsewhere is
        asked to, and does within moments. Raises ``NOT_FOUND``."""
        if (run := self._here(model, number, id)) is not None:
            await self._end([run])
        elif not await to_thread.run_sync(self._store.cancel, model, number, id):
            raise _unknown()

    async def tell(self) -> None:
        """Tell the database how far those are that run here, and of those that have ended since;
        end those that somebody has cancelled elsewhere, or whose holder's secret has ended."""
        for run in list(self._runs.values()):
            async with self._writing:
                if run.id not in self._runs:
                    continue
                told = run.shown()
                try:
                    wanted = await to_thread.run_sync(self._store.tell, told)
                    stands = told.state != "running" or await run.holder.stands()
                except DatabaseError as error:  # it is told again in a moment
                    logger("evaluations").warning("progress is not kept", error=repr(error))
                    return
                if told.state != "running":
                    del self._runs[run.id]
                elif run.task is not None and (wanted or not stands):
                    run.abandoned = not stands
                    run.task.cancel()

    async def close(self) -> None:
        """End all: the process stops."""
        self._closed = True
        await self._end(list(self._runs.values()))
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.gather(self._teller, return_exceptions=True)
        await self.tell()

    async def _keep_telling(self) -> None:
        while self._runs:
            await asyncio.sleep(TELL_S)
            await self.tell()

    @staticmethod
    async def _end(runs: list[_Run]) -> None:
        tasks = [run.task for run in runs if run.task is not None and not run.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # what they raise, _ended logs

    async def _run(self, run: _Run, rows: IO[bytes]) -> None:
        assert self._library is not None  # else it would not have begun
        settings = self._settings
        size = os.fstat(rows.fileno()).st_size
        try:
            await self._run_process(
                arguments(run.model, run.number, run.wish, settings, size),
                environment(settings, run.holder.secret, self._library),
                rows,
                run.progress,
                settings.evaluation_timeout_s,
            )
        except OSError as error:
            logger("evaluations").error("an evaluation could not be started", error=repr(error))
            run.progress.failure = EvaluationFailure(
                about="", detail="its process could not be started: try again in a moment"
            )
        if run.progress.failure is not None and not await run.holder.stands():
            run.progress.failure = abandoned()

    def _ended(self, run: _Run, rows: IO[bytes]) -> None:
        rows.close()
        self._begun -= 1
        run.ended_ms = self._clock()
        progress, task = run.progress, run.task
        if progress.digest is not None:
            run.state, progress.failure = "kept", None
        elif run.abandoned:
            run.state, progress.failure = "failed", abandoned()
        elif task is not None and task.cancelled():
            run.state = "cancelled"
        else:
            run.state = "failed"
            error = None if task is None else task.exception()
            if error is not None:
                logger("evaluations").error("an evaluation failed", error=repr(error))
                progress.failure = EvaluationFailure(about="", detail="a defect of the server")

    def _here(self, model: str, number: int, id: str) -> _Run | None:
        run = self._runs.get(id)
        return run if run is not None and (run.model, run.number) == (model, number) else None


def _unknown() -> TollwayError:
    return TollwayError(
        Code.NOT_FOUND,
        "there is no such evaluation, or it ended long ago: what was kept is in the version's "
        "evidence",
    )
