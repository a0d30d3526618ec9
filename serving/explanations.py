"""An engine's explanations: below its predictions, one bounded run at a time, first come first
served.

What an explanation needs is known before it begins: how many rows the model has to run. One that
needs more than may be asked for, or than its deadline leaves, is refused before anything is done.
"""

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from protocol.errors import Code, TollwayError
from protocol.frames import TRACED, EngineTrace, ExplainStats, Frame
from serving.account import Account
from serving.background import BackgroundRows
from serving.batcher import Batcher, Runner, internal, queue_full
from serving.coalitions import planned, planned_size
from serving.connection import Connection
from serving.contract import Contracts
from serving.explain import Explained, Explainer, Output, Run, Steps
from serving.explain_request import Reader, Request
from serving.signature import Signature
from serving.tensors import Array
from serving.v1 import V1

SLICE_S: Final = 0.0005
"""Runs are kept about this short, as far as a run of one row is: predictions that come meanwhile
wait for its end."""
LONG: Final = 1.5
SHORT: Final = 0.5
"""Runs that take more, or less, of a slice make the next ones half as long, or twice."""
MAX_RUN_ROWS: Final = 1024
MAX_WAITING: Final = 64
MAX_WAITING_BYTES: Final = 64 << 20
MAX_COALITION_NUMBERS: Final = 1 << 22
"""Coalitions of a plan, times the output's values."""
STALE_S: Final = 1.0
"""What explanations cost lately is forgotten when there were none for so long."""
SMOOTHING: Final = 0.02
"""The part of what is known of runs' cost that each further run replaces."""
STRETCH_MAX: Final = 16.0
"""How many times longer explanations take than their runs, where predictions come first."""
STRETCH_SMOOTHING: Final = 0.25
MAX_US: Final = 0xFFFFFFFF

Begin = Callable[[Callable[[], None], Callable[[], None]], None]
"""Does its first argument in a thread, then its second in the loop."""


class ExplainLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may ask for."""

    max_rows: int = 100
    max_evaluations: int = 5_000_000
    """Rows that the model has to run for it."""


class ExplainSetup(msgspec.Struct, frozen=True):
    """What an engine explains by."""

    background: BackgroundRows | None = None
    """None: it explains nothing."""
    limits: ExplainLimits = ExplainLimits()
    scores: Runner | None = None
    """The model with scores for probabilities, where its graph has such."""


class _Job:
    """An explanation under way."""

    __slots__ = (
        "begun_ns", "call", "error", "left", "outputs", "request", "run", "run_ns", "spent_ns",
        "steps",
    )  # fmt: skip

    def __init__(self, request: Request, steps: Steps[Explained], left: int) -> None:
        self.request = request
        self.call = request.call
        self.steps = steps
        self.left = left
        """Rows that are still to be run."""
        self.run: Run | None = None
        """What comes next."""
        self.outputs: list[Array | None] | None = None
        self.error: TollwayError | None = None
        self.begun_ns = self.run_ns = self.spent_ns = 0


class Explanations:
    """Takes requests to explain, and works them off in slices."""

    def __init__(
        self,
        signature: Signature,
        v1: V1,
        predictions: Batcher,
        setup: ExplainSetup,
        *,
        contracts: Contracts,
        account: Account,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        report_defect: Callable[[BaseException], None],
    ) -> None:
        """``account`` is told of every request that is answered by an error."""
        background = setup.background
        self._predictions = predictions
        self._reader = Reader(signature, v1, background)
        self._explainer = None if background is None else Explainer(background, self._chunk)
        self._limits = setup.limits
        self._scores = setup.scores
        self._contracts = contracts
        self._account = account
        self._clock_ns = clock_ns
        self._report_defect = report_defect
        self._queue: deque[_Job] = deque()
        self._queued_bytes = 0
        self._run_rows = 0
        """Rows of the next run, a power of two; 0: none was run yet."""
        self._lately_rows = self._lately_ns = 0.0
        self._stretch = 1.0
        self._ran_ns = 0
        self.stats = ExplainStats()

    @property
    def due(self) -> bool:
        """Whether there is something to do."""
        return bool(self._queue)

    def take(self, connection: Connection, frame: Frame) -> None:
        """Queue a request, or answer at once why not."""
        arrived = self._clock_ns()
        try:
            job = self._job(frame, arrived)
        except TollwayError as error:
            self._refuse(connection, frame.id, error, arrived)
            return
        except Exception as error:  # a defect must not leave the request hanging
            self._report_defect(error)
            self._refuse(connection, frame.id, internal(), arrived)
            return
        call = job.call
        call.sink = connection
        call.id = frame.id
        call.size = len(frame.body)
        call.arrived_ns = arrived
        call.decode_ns = self._clock_ns() - arrived
        call.traced = frame.flags >= TRACED
        call.deadline_ns = arrived + frame.a * 1_000_000 if frame.a else 0
        connection.calls[frame.id] = call
        self._queue.append(job)
        self._queued_bytes += call.size

    def work(self, begin: Begin, inline_s: float) -> bool:
        """Do one run; one that is predicted to take longer than ``inline_s`` in the thread. False
        when there is nothing to do."""
        job = self._next()
        if job is None or job.run is None:
            return False
        run = job.run
        if self._predictions.cost.predict(run.rows) >= inline_s:
            begin(partial(self._run, job, run), partial(self._go_on, job, run.rows))
        else:
            self._run(job, run)
            self._go_on(job, run.rows)
        return True

    # what is asked for

    def _job(self, frame: Frame, now_ns: int) -> _Job:
        if len(self._queue) >= MAX_WAITING or (
            self._queue and self._queued_bytes + len(frame.body) > MAX_WAITING_BYTES
        ):
            raise queue_full()
        most = min(frame.c or self._limits.max_rows, self._limits.max_rows)
        request = self._reader.read(frame.body, most)
        if (contract := self._contracts.present) is not None:
            request.call.warned = not contract.check(request.call)
        explainer = self._explainer
        assert explainer is not None, "the reader refuses requests where there is none"
        parameters, output = request.parameters, request.output
        exact = parameters.method == "auto" and self._adds_up(output)
        size = planned_size(len(explainer.background.columns), parameters.permutations)
        evaluations = explainer.cost(output, size, request.call.rows, exact=exact)
        if not exact:
            self._check_size(size * self._reader.width(output))
        self._check_budget(evaluations)
        self._check_deadline(evaluations, frame.a / 1000, now_ns)
        return _Job(request, self._steps(request, explainer, exact=exact), evaluations)

    def _adds_up(self, output: Output) -> bool:
        """Whether it can be explained exactly. Where rows depend on each other, nothing is known
        of them."""
        known = output.link == "identity" or self._scores is not None
        return output.exact and known and self._predictions.merging

    def _check_size(self, numbers: int) -> None:
        if numbers > MAX_COALITION_NUMBERS:
            raise TollwayError(
                Code.TOO_LARGE,
                f"the explanation would hold {numbers} numbers; {MAX_COALITION_NUMBERS} may be: "
                "ask for fewer permutations",
            )

    def _check_budget(self, evaluations: int) -> None:
        limit = self._limits.max_evaluations
        if evaluations > limit:
            raise TollwayError(
                Code.TOO_LARGE,
                f"the explanation needs {evaluations} rows of the model, and may need {limit}: "
                "send fewer rows or ask for fewer permutations",
            )

    def _check_deadline(self, evaluations: int, left_s: float, now_ns: int) -> None:
        if not left_s:
            return
        if not self._queue and now_ns - self._ran_ns > STALE_S * 1e9:
            self._lately_rows = self._lately_ns = 0.0
            self._stretch = 1.0
        if self._lately_rows:
            row_s = self._lately_ns * 1e-9 / self._lately_rows
        else:
            chunk = self._chunk()
            row_s = self._predictions.cost.predict(chunk) / chunk
        waiting = sum(job.left for job in self._queue)
        needed = (waiting + evaluations) * row_s * self._stretch
        if needed > left_s:
            raise TollwayError(
                Code.DEADLINE_UNREACHABLE,
                f"the explanation would take about {needed * 1000:.0f} ms, and its deadline leaves "
                f"{left_s * 1000:.0f} ms: send fewer rows, ask for fewer permutations, or allow "
                "more time",
            )

    def _steps(self, request: Request, explainer: Explainer, *, exact: bool) -> Steps[Explained]:
        rows, count, output = request.call.feeds, request.call.rows, request.output
        if exact:
            found = yield from explainer.exactly(output, rows, count)
            if found is not None:
                return found
            self._report_defect(ValueError(f"output {output.name!r}: {output.refuted}"))
        parameters = request.parameters
        columns = explainer.background.columns
        size = planned_size(len(columns), parameters.permutations)
        self._check_size(size * self._reader.width(output))
        self._check_budget(explainer.cost(output, size, count, exact=False))
        plan = planned(columns, parameters.permutations, parameters.seed)
        return (yield from explainer.sampled(output, plan, rows, count))

    # one run after the other

    def _chunk(self) -> int:
        """Rows of a run: first by what predictions' runs cost, then by what the last ones took."""
        if not self._predictions.merging:
            return 1
        if not self._run_rows:
            cost = self._predictions.cost
            most = int((SLICE_S - cost.fixed_s) / cost.row_s) if cost.row_s > 0 else MAX_RUN_ROWS
            self._run_rows = 1 << (min(max(most, 1), MAX_RUN_ROWS).bit_length() - 1)
        return self._run_rows

    def _next(self) -> _Job | None:
        """The first job that somebody still waits for, with its next run's inputs."""
        while self._queue:
            job = self._queue[0]
            now = self._clock_ns()
            if job.call.cancelled:
                self._leave(job)
            elif job.call.deadline_ns and now >= job.call.deadline_ns:
                self._fail(job, _too_late())
            elif job.begun_ns:
                return job
            else:
                job.begun_ns = job.call.taken_ns = now
                self._advance(job)
        return None

    def _run(self, job: _Job, run: Run) -> None:
        """In whatever thread: the model alone."""
        begun = self._clock_ns()
        try:
            runner = self._scores if run.scores else self._predictions.runner
            assert runner is not None, "nobody asks for scores where there are none"
            job.outputs = runner.run(run.feeds)
        except TollwayError as error:
            job.error = error
        except Exception as error:  # a defect, or no memory
            self._report_defect(error)
            job.error = internal()
        job.run_ns = self._clock_ns() - begun

    def _go_on(self, job: _Job, rows: int) -> None:
        seconds = job.run_ns * 1e-9
        self.stats.rows_run += rows
        self.stats.run_ns += job.run_ns
        if seconds > LONG * SLICE_S:
            self._run_rows = max(self._run_rows // 2, 1)
        elif seconds < SHORT * SLICE_S and rows == self._run_rows:
            self._run_rows = min(2 * rows, MAX_RUN_ROWS)
        job.left = max(job.left - rows, 0)
        begun = self._clock_ns()
        spent_ns = job.run_ns
        if not job.call.cancelled:
            self._advance(job)
            spent_ns += self._clock_ns() - begun
        job.spent_ns += spent_ns
        self._ran_ns = self._clock_ns()
        self._lately_rows += rows - SMOOTHING * self._lately_rows
        self._lately_ns += spent_ns - SMOOTHING * self._lately_ns

    def _advance(self, job: _Job) -> None:
        """Take the last run's outputs, and prepare the next; or answer."""
        outputs, error = job.outputs, job.error
        job.outputs = job.run = None
        try:
            if error is not None:
                raise error
            job.run = next(job.steps) if outputs is None else job.steps.send(outputs)
        except StopIteration as done:
            self._answer(job, done.value)
        except TollwayError as refused:
            self._fail(job, refused)
        except Exception as defect:
            self._report_defect(defect)
            self._fail(job, internal())

    def _answer(self, job: _Job, found: Explained) -> None:
        call, now = job.call, self._clock_ns()
        wall_ns = now - job.begun_ns
        if job.spent_ns:
            stretch = min(max(wall_ns / job.spent_ns, 1.0), STRETCH_MAX)
            self._stretch += STRETCH_SMOOTHING * (stretch - self._stretch)
        body = self._reader.write(job.request, found)
        self._leave(job)
        sink = call.sink
        if sink is None or call.cancelled:
            return
        written = self._clock_ns()
        queued_us = (job.begun_ns - call.arrived_ns) // 1000
        compute_us = job.spent_ns // 1000
        if call.traced:
            told = EngineTrace(
                decode_us=call.decode_ns // 1000,
                queue_us=queued_us,
                run_us=compute_us,
                encode_us=(written - now) // 1000,
                total_us=(written - call.arrived_ns) // 1000,
                batch_rows=found.evaluations,
                batch_requests=1,
            )
            sink.trace(call, told)
        sink.reply(
            call, 200, body, queue_us=min(queued_us, MAX_US), infer_us=min(compute_us, MAX_US)
        )
        sink.flush()
        self.stats.answered += 1
        self.stats.rows += call.rows
        self.stats.answer_ns += written - call.arrived_ns

    def _fail(self, job: _Job, error: TollwayError) -> None:
        self._leave(job)
        call = job.call
        if isinstance(call.sink, Connection) and not call.cancelled:
            self._refuse(call.sink, call.id, error, call.arrived_ns)

    def _refuse(
        self, connection: Connection, id: int, error: TollwayError, arrived_ns: int
    ) -> None:
        self.stats.failed += 1
        self._account.fails(error, self._clock_ns() - arrived_ns)
        connection.refuse(id, error)

    def _leave(self, job: _Job) -> None:
        self._queue.remove(job)
        self._queued_bytes -= job.call.size
        job.steps.close()


def _too_late() -> TollwayError:
    return TollwayError(
        Code.DEADLINE_EXCEEDED, "the deadline passed before the explanation was complete"
    )
