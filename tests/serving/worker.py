"""A worker's agent at work in this process, with real engines."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from runtime.process import Lifeline
from serving.agent import Agent
from serving.process import starter
from serving.settings import WorkerSettings
from tests.serving.fake_control import FakeControl


class Place:
    """Where a worker keeps its things; sockets need a short path."""

    def __init__(self, data: Path, run: Path) -> None:
        self.settings = WorkerSettings(
            data_dir=data,
            control_url="http://control",
            cluster_token_file=data / "token",
            worker_id="w",
            run_dir=run,
            engine_drain_s=2,
            engine_linger_s=0,
        )

    @asynccontextmanager
    async def working(
        self,
        control: FakeControl,
        clock: Callable[[], float] = time.monotonic,
        **settings: Any,
    ) -> AsyncIterator[Agent]:
        """An agent at work."""
        lifeline = Lifeline()
        stop = asyncio.Event()
        async with control.client() as client:
            chosen = self.settings.model_copy(update=settings)
            agent = Agent(chosen, client, "token", starter(lifeline), clock)
            task = asyncio.create_task(agent.run(stop))
            try:
                yield agent
            finally:
                stop.set()
                await asyncio.wait_for(task, 20)
                lifeline.close()


@contextmanager
def short_place(data: Path) -> Iterator[Place]:
    """A place whose sockets have short paths."""
    run = Path(tempfile.mkdtemp(prefix="tw"))
    try:
        yield Place(data, run)
    finally:
        shutil.rmtree(run)
