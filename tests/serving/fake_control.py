"""Control as a worker sees it: a change stream, blobs and a place for reports."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import msgspec
from onnx import ModelProto

from protocol.configuration import (
    DELETED,
    Change,
    ChangePage,
    EngineDoc,
    ModelDoc,
    VersionDoc,
    WorkerDoc,
)
from protocol.manifest import sha256_digest

WITHIN_S = 30.0


class FakeControl:
    """Answers a worker's requests from memory; ``away`` makes it unreachable."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.blobs: dict[str, bytes] = {}
        self.reports: list[WorkerDoc] = []
        self.removed = False
        self.away = False
        self.refuses_reports = False
        self.refused = 0
        self.ranges: list[str | None] = []
        self.cut_after: int | None = None
        """Bytes after which the next blob's transfer breaks."""
        self._moved = asyncio.Event()

    def client(self) -> httpx.AsyncClient:
        """A client whose requests end here."""
        return httpx.AsyncClient(
            base_url="http://control", transport=httpx.MockTransport(self._answer)
        )

    def put(self, key: str, document: VersionDoc | None) -> None:
        """Append a change of a version."""
        raw = DELETED if document is None else msgspec.Raw(msgspec.json.encode(document))
        self.changes.append(Change(len(self.changes) + 1, "version", key, raw))
        self._wake()

    def put_model(self, document: ModelDoc) -> None:
        """Append a change of a model."""
        raw = msgspec.Raw(msgspec.json.encode(document))
        self.changes.append(Change(len(self.changes) + 1, "model", document.name, raw))
        self._wake()

    def add_blob(self, data: bytes) -> None:
        """Have a blob."""
        self.blobs[sha256_digest(data)] = data

    def add_model(self, graph: ModelProto) -> None:
        """Have a graph's blob."""
        self.add_blob(graph.SerializeToString())

    def engine(self, model: str, version: int = 1) -> EngineDoc | None:
        """What was last reported of an engine."""
        engines = self.reports[-1].engines if self.reports else ()
        return next((e for e in engines if (e.model, e.version) == (model, version)), None)

    async def until(self, model: str, state: str | None, version: int = 1) -> EngineDoc | None:
        """Wait until an engine is reported in ``state`` (None: not reported)."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                found = self.engine(model, version) if self.reports else None
                if self.reports and (found.state if found else None) == state:
                    return found
                self._moved.clear()
                await self._moved.wait()

    def _wake(self) -> None:
        self._moved.set()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("away", request=request)
        path = request.url.path
        if path == "/internal/v1/changes":
            return await self._page(request)
        if path.startswith("/internal/v1/blobs/"):
            return self._blob(request, path.rsplit("/", 1)[1])
        if request.method == "DELETE":
            self.removed = True
        elif self.refuses_reports:
            self.refused += 1
            return httpx.Response(503)
        elif not path.endswith("/figures"):  # those come every few seconds, and nobody looks here
            self.reports.append(msgspec.json.decode(request.content, type=WorkerDoc))
            self._wake()
        return httpx.Response(204)

    async def _page(self, request: httpx.Request) -> httpx.Response:
        params = request.url.params
        reset = params["stream"] != "s"
        after = 0 if reset else int(params["after"])
        async with asyncio.timeout(WITHIN_S):
            while not reset and len(self.changes) <= after:
                # A look from time to time: put() and reports share the one event.
                await asyncio.sleep(0.01)
                if self.away:
                    raise httpx.ReadError("away", request=request)
        page = ChangePage(
            stream="s",
            reset=reset,
            changes=self.changes[after:],
            next=len(self.changes),
            more=False,
        )
        return httpx.Response(200, content=msgspec.json.encode(page))

    def _blob(self, request: httpx.Request, digest: str) -> httpx.Response:
        if digest not in self.blobs:
            return httpx.Response(404)
        data = self.blobs[digest]
        wanted = request.headers.get("range")
        self.ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        cut, self.cut_after = self.cut_after, None

        async def chunks() -> AsyncIterator[bytes]:
            yield data[start : None if cut is None else start + cut]
            if cut is not None:
                raise httpx.ReadError("cut", request=request)

        return httpx.Response(206 if wanted else 200, content=chunks())
