"""Evaluations without their process: tests say what it says, and when it ends."""

import asyncio
from collections.abc import Sequence
from typing import IO

import httpx

from control.evaluations.progress import Progress
from protocol.manifest import sha256_digest
from tests.control.running import Control

CSV = b"age,income,debt,risk\n1,2,3,4\n"


class Played:
    """Stands for the processes. What they got is kept."""

    def __init__(self, control: Control) -> None:
        self.arguments: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.rows: list[bytes] = []
        self.progresses: list[Progress] = []
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.evaluations = control.services.evaluations
        self.evaluations._run_process = self._run

    async def _run(
        self,
        arguments: Sequence[str],
        environment: dict[str, str],
        rows: IO[bytes],
        progress: Progress,
        _timeout_s: float,
    ) -> None:
        self.arguments.append(list(arguments))
        self.environments.append(environment)
        self.rows.append(rows.read())
        self.progresses.append(progress)
        self.begun.set()
        await self.let_go.wait()

    async def said(self, line: bytes) -> None:
        """The last process says this."""
        await asyncio.wait_for(self.begun.wait(), 10)
        self.progresses[-1].follow(line)

    async def end(self, line: bytes) -> None:
        """The last process says this, and all end."""
        await self.said(line)
        self.let_go.set()
        await self.ended()

    async def ended(self) -> None:
        """All have ended, and that is noted."""
        tasks = [run.task for run in self.evaluations._runs.values() if run.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=10)
        await asyncio.sleep(0)


async def upload(client: httpx.AsyncClient, content: bytes = CSV) -> str:
    """A whole upload."""
    body = {"digest": sha256_digest(content), "size": len(content), "fresh": True}
    id: str = (await client.post("/api/v1/blobs/uploads", json=body)).json()["id"]
    at = f"/api/v1/blobs/uploads/{id}"
    sent = await client.patch(at, content=content, headers={"Upload-Offset": "0"})
    assert sent.status_code == 204
    return id
