"""Follows control's change stream, and keeps a disk copy to start from without control."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from protocol.configuration import DELETED, DOCUMENTS, Change, ChangePage
from runtime.files import write_atomically
from runtime.logs import logger

WAIT_MS = 20_000
"""How long control may hold a request open until something changes."""
RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0
COMPACT_AFTER = 1000
"""Lines that the journal may have beyond the live documents before it is written anew."""

BROKEN = 1 << 62
"""Lines of a journal that could not be written: more than any bound."""

Documents = dict[tuple[str, str], msgspec.Struct]
"""(kind, key) -> document."""


class _Place(msgspec.Struct, frozen=True):
    stream: str
    next: int


class ChangeFollower:
    """Applies changes in their order, exactly once each, and remembers them in ``journal``.

    The journal is append-only (one JSON line a page, or a page whole), so a change that was applied
    - a revocation - still holds after a crash and a start without control. A torn last line is
    dropped: control sends it again.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        journal: Path,
        apply: Callable[[list[tuple[str, str, msgspec.Struct | None]], bool], None],
    ) -> None:
        """``apply(changes, reset)`` gets (kind, key, document or None); it must not raise."""
        self._client = client
        self._journal = journal
        self._apply = apply
        self._live: dict[tuple[str, str], Change] = {}
        self._place = _Place("", 0)
        self._lines = 0
        self.connected = False
        self.synchronised = asyncio.Event()
        """Set once the present state, from control or from the disk copy, has been applied."""

    def load(self) -> bool:
        """Apply the disk copy. Returns whether there was one."""
        try:
            data = self._journal.read_bytes()
        except FileNotFoundError:
            return False
        for line in data.split(b"\n")[:-1]:
            try:
                page = msgspec.json.decode(line, type=ChangePage)
            except msgspec.DecodeError as error:
                # What follows builds on what cannot be read: stop here, control sends the rest.
                logger("follower").error("the disk copy is damaged", error=str(error))
                break
            self._take(page)
        found = self._place.stream != ""
        if found:
            self._rewrite()
            self.synchronised.set()
        else:
            self._journal.unlink()  # nothing but a torn line
        return found

    async def run(self) -> None:
        """Follow until cancelled. Control being away is logged once and retried with back-off."""
        log = logger("follower")
        delay = RETRY_MIN_S
        told = False
        while True:
            try:
                page = await self._fetch()
            except (httpx.HTTPError, msgspec.DecodeError, OSError) as error:
                # At a start of everything, control may well be the last to be there.
                if not told and (self.connected or delay >= RETRY_MAX_S):
                    log.warning("control is not answering", error=repr(error))
                    told = True
                self.connected = False
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_MAX_S)
                continue
            delay = RETRY_MIN_S
            told = False
            self.connected = True
            if page.changes or page.reset or page.stream != self._place.stream:
                self._take_and_keep(page)
            if not page.more:
                self.synchronised.set()

    async def _fetch(self) -> ChangePage:
        place = self._place
        response = await self._client.get(
            "/internal/v1/changes",
            params={
                "stream": place.stream,
                "after": place.next,
                # Until control has answered once there is no reason to wait for a change.
                "wait_ms": WAIT_MS if self.connected else 0,
            },
            timeout=httpx.Timeout(10.0, read=WAIT_MS / 1000 + 10.0),
        )
        response.raise_for_status()
        return msgspec.json.decode(response.content, type=ChangePage)

    def _take(self, page: ChangePage) -> None:
        if page.reset:
            self._live.clear()
        decoded: list[tuple[str, str, msgspec.Struct | None]] = []
        for change in page.changes:
            document_type = DOCUMENTS.get(change.kind)
            if document_type is None:
                continue  # a kind that a newer control knows and this role does not need
            if change.doc == DELETED:
                self._live.pop((change.kind, change.key), None)
                decoded.append((change.kind, change.key, None))
                continue
            try:
                document = msgspec.json.decode(change.doc, type=document_type)
            except msgspec.ValidationError as error:
                # What cannot be understood must not leave an earlier, wider right in force.
                logger("follower").error("document refused", key=change.key, error=str(error))
                self._live.pop((change.kind, change.key), None)
                decoded.append((change.kind, change.key, None))
                continue
            self._live[change.kind, change.key] = change
            decoded.append((change.kind, change.key, document))
        self._place = _Place(page.stream, page.next)
        self._apply(decoded, page.reset)

    def _take_and_keep(self, page: ChangePage) -> None:
        """Write before applying: what this process acted on, its successor knows.

        A disk that takes nothing must not keep a revocation from being applied: it is applied and
        said, and the journal is written whole at the next change.
        """
        try:
            self._append(page)
            written = True
        except OSError as error:
            logger("follower").error("the disk copy cannot be written", error=str(error))
            written = False
        self._take(page)
        if not written:
            self._lines = BROKEN
        if self._lines > len(self._live) + COMPACT_AFTER:
            try:
                self._rewrite()
            except OSError:
                self._lines = BROKEN

    def _append(self, page: ChangePage) -> None:
        if self._lines == BROKEN:
            return  # what is there may be torn; it is about to be written whole
        with self._journal.open("ab") as file:
            file.write(msgspec.json.encode(page) + b"\n")
        self._lines += 1 + len(page.changes)

    def _rewrite(self) -> None:
        page = ChangePage(
            stream=self._place.stream,
            reset=True,
            changes=list(self._live.values()),
            next=self._place.next,
            more=False,
        )
        write_atomically(self._journal, msgspec.json.encode(page) + b"\n", 0o600)
        self._lines = len(self._live)
