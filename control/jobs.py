"""Background jobs of control: one thread for all of them, beside the requests' threads."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from anyio import CapacityLimiter

from control.metrics import Metrics
from control.threads import in_thread
from registry.blobstore import BlobStore, StoredBlob
from runtime.logs import logger


class Job(NamedTuple):
    """Something to be done every ``interval_s``, first after ``delay_s``."""

    name: str
    delay_s: float
    interval_s: float
    run: Callable[[], object]
    """Blocks. Its result is logged when it is true. May raise :class:`Stopped`."""
    alone: bool = False
    """Whether it has a thread of its own, because it may not wait for the long ones."""


class Stopped(Exception):  # noqa: N818 -- not an error: the process is ending
    """Raised inside a job when the process is ending."""


class Jobs:
    """Runs jobs beside the server. A job that fails is logged, counted and run again next time."""

    def __init__(self, jobs: Sequence[Job], stop: threading.Event, metrics: Metrics) -> None:
        """``stop`` is set by :meth:`close`: long jobs look at it."""
        self._jobs = jobs
        self._stop = stop
        self._metrics = metrics
        self._tasks: list[asyncio.Task[object]] = []
        # One thread for all: jobs may compete with each other, but not with requests.
        self._limiter = CapacityLimiter(1)

    def open(self) -> None:
        """Start the jobs in the running loop."""
        self._tasks = [
            asyncio.create_task(self._repeat(job), name=f"job-{job.name}") for job in self._jobs
        ]

    def once(self, name: str) -> None:
        """Run a job that has a thread of its own now, beside its turns."""
        job = next(one for one in self._jobs if one.name == name and one.alone)
        task = asyncio.create_task(self._run(job, CapacityLimiter(1)), name=f"job-{name}-once")
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def close(self) -> None:
        """End the jobs. One that is running is told to stop and waited for."""
        self._stop.set()
        present = list(self._tasks)
        for task in present:
            task.cancel()
        for task in present:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _repeat(self, job: Job) -> None:
        limiter = CapacityLimiter(1) if job.alone else self._limiter
        pause = job.delay_s
        while not self._stop.is_set():
            await asyncio.sleep(pause)
            if not await self._run(job, limiter):
                return
            pause = job.interval_s

    async def _run(self, job: Job, limiter: CapacityLimiter) -> bool:
        """One turn; False when the process is ending."""
        log = logger("jobs")
        try:
            done = await in_thread(job.run, limiter)
        except Stopped:
            return False
        except Exception as error:
            self._metrics.job(job.name, failed=True)
            log.exception("job failed", job=job.name, error=repr(error))
        else:
            self._metrics.job(job.name, failed=False)
            if done:
                log.info("job done", job=job.name, result=str(done))
        return True


class InterruptibleStore:
    """A blob store whose reads end with :class:`Stopped` when the process is ending."""

    def __init__(self, store: BlobStore, stop: threading.Event) -> None:
        self._store = store
        self._stop = stop

    def put(self, digest: str, source: Path) -> None:
        """As the store does."""
        self._store.put(digest, source)

    def read(self, digest: str, start: int = 0) -> Generator[bytes, None, None]:
        """The bytes in chunks, for as long as the process goes on."""
        return self._watched(self._store.read(digest, start))

    def _watched(self, chunks: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
        with contextlib.closing(chunks):
            for chunk in chunks:
                if self._stop.is_set():
                    raise Stopped
                yield chunk

    def size(self, digest: str) -> int | None:
        """As the store does."""
        return self._store.size(digest)

    def delete(self, digest: str) -> None:
        """As the store does."""
        self._store.delete(digest)

    def list(self) -> Iterator[StoredBlob]:
        """Everything stored, for as long as the process goes on."""
        for blob in self._store.list():
            if self._stop.is_set():
                raise Stopped
            yield blob

    def clean(self, before_ms: int) -> int:
        """As the store does."""
        return self._store.clean(before_ms)
