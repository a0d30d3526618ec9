"""Prediction ids: every answer's names the epoch that it is of, and every epoch is on disk before.

Naming costs a comparison and a number: what an id stands for is written once an epoch, not once an
answer. Epochs are lines of a file of this process in ``folder``; what was written is in the
kernel's hands, so that a process which is killed has named nothing that cannot be told again.
Control takes a line once however often it is sent, so that no offsets are kept.
"""

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import msgspec

from policies.base import Call
from protocol.receipts import NOTHING, PROCESS_DIGITS, Answerer, EngineRuntime, EpochRecord, Served
from runtime.logs import logger

SUFFIX: Final = ".epochs"
BATCH_BYTES: Final = 256 << 10
REMEMBERED: Final = 4096
"""Epochs that are known again; then all are forgotten, and what answers begins new ones."""
TOLD_AFTER: Final = 60
"""Failures in a row after which the log says so."""

_Combination = tuple[Answerer, str, int, str, EngineRuntime | None, int]


class Receipts:
    """Names answers, and ships what their ids stand for."""

    def __init__(
        self,
        folder: Path,
        *,
        gateway: str,
        now: Callable[[], float],
        digest_of: Callable[[str, int], str | None] = lambda _model, _version: None,
    ) -> None:
        """Raises ``OSError`` where ``folder`` takes nothing. ``now`` gives UNIX seconds;
        ``digest_of`` the manifest digest of a configured version."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._gateway = gateway
        self._now = now
        self._digest_of = digest_of
        self._process = secrets.token_hex(PROCESS_DIGITS // 2)
        self._path = folder / (self._process + SUFFIX)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._written = self._shipped = 0
        self._torn = False
        self._count = 0
        self._epochs: dict[_Combination, bytes] = {}
        self._refusing: dict[tuple[str, int], Served] = {}
        self._newest = NOTHING
        self.failures = 0
        """Epochs that could not be written; their requests were answered 503."""
        self._write(self._record(NOTHING, Served(by="gateway", model="", version=0), 0))
        self._none = self._prefix(NOTHING)

    def name(self, call: Call) -> bool:
        """Give the call its prediction id, by who answered it.

        False when its epoch could not be written: the answer must not be given. The id is then one
        of a refusal.
        """
        self._count = count = self._count + 1
        served = call.served
        if served is not None and served.revision == call.revision:  # nearly always
            call.prediction_id = served.prefix + b"%x" % count
            return True
        named = True
        if served is None and call.version:
            served = self._refuses(call.model, call.version)
        if served is None:
            prefix = self._none
        elif served.revision == call.revision:
            prefix = served.prefix
        else:
            prefix = self._begun(served, call.revision)
            if not prefix:
                prefix, named = self._none, False
        call.prediction_id = prefix + b"%x" % count
        return named

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)
        self._descriptor = -1

    def _refuses(self, model: str, version: int) -> Served:
        found = self._refusing.get((model, version))
        if found is None:
            if len(self._refusing) >= REMEMBERED:
                self._refusing.clear()
            digest = self._digest_of(model, version) or ""
            found = Served(by="gateway", model=model, version=version, digest=digest)
            self._refusing[model, version] = found
        return found

    def _begun(self, served: Served, revision: int) -> bytes:
        """How ids of this epoch begin; nothing when it cannot be written."""
        combination = (
            served.by, served.model, served.version, served.digest, served.runtime, revision,
        )  # fmt: skip
        prefix = self._epochs.get(combination, b"")
        if not prefix:
            epoch = self._newest + 1
            try:
                self._write(self._record(epoch, served, revision))
            except OSError as error:
                if not self.failures:
                    logger("receipts").error("an epoch cannot be written", error=repr(error))
                self.failures += 1
                return b""
            self._newest = epoch
            if len(self._epochs) >= REMEMBERED:
                self._epochs.clear()
            prefix = self._epochs[combination] = self._prefix(epoch)
        served.revision, served.prefix = revision, prefix
        return prefix

    def _prefix(self, epoch: int) -> bytes:
        return b"%s-%x-" % (self._process.encode(), epoch)

    def _record(self, epoch: int, served: Served, revision: int) -> EpochRecord:
        return EpochRecord(
            process=self._process,
            epoch=epoch,
            gateway=self._gateway,
            begun_ms=int(self._now() * 1000),
            by=served.by,
            model=served.model,
            version=served.version,
            digest=served.digest,
            runtime=served.runtime,
            revision=revision,
        )

    def _write(self, record: EpochRecord) -> None:
        # A line end first where half a line was left: the next would be lost with it.
        line = b"\n" * self._torn + msgspec.json.encode(record) + b"\n"
        done = 0
        try:
            while done < len(line):
                done += os.write(self._descriptor, line[done:])
        finally:
            self._written += done
            self._torn = 0 < done < len(line) or (self._torn and not done)

    async def run(self, client: httpx.AsyncClient, interval_s: float) -> None:
        """Ship until cancelled. While control is away the lines wait."""
        failures = 0
        while True:
            try:
                await self.ship(client)
                failures = 0
            except (httpx.HTTPError, OSError) as error:
                failures += 1
                if failures == TOLD_AFTER:  # at a start, control may be the last to be there
                    logger("receipts").warning("epochs cannot be shipped", error=repr(error))
            await asyncio.sleep(interval_s)

    async def ship(self, client: httpx.AsyncClient) -> None:
        """Ship every line that control may not have; delete the files of runs that have ended."""
        if self._shipped < self._written:
            end = self._written
            await self._send(client, self._path, self._shipped, end)
            self._shipped = end
        for path in sorted(self._folder.glob("*" + SUFFIX)):
            if path != self._path:
                await self._send(client, path, 0, path.stat().st_size)
                path.unlink(missing_ok=True)

    @staticmethod
    async def _send(client: httpx.AsyncClient, path: Path, offset: int, end: int) -> None:
        """Send the whole lines between ``offset`` and ``end``, of few bytes at a time. What may be
        left at the end of a file is a torn line, which no answer has named."""
        with path.open("rb") as file:
            file.seek(offset)
            while offset < end:
                data = file.read(min(BATCH_BYTES, end - offset))
                whole = data[: data.rfind(b"\n") + 1]
                if not whole:
                    return
                response = await client.post("/internal/v1/epochs", content=whole)
                response.raise_for_status()
                offset += len(whole)
                file.seek(offset)
