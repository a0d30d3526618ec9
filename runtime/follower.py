"""Follows control's change stream, and keeps a disk copy to start from without control."""

import asyncio
import os
from collections.abc import Callable, Collection
from pathlib import Path
from sys import intern

import httpx
import msgspec

from protocol.configuration import DELETED, DOCUMENTS, Change, ChangePage
from runtime.files import make_private, write_atomically
from runtime.logs import logger
from runtime.memory import building_for_good

WAIT_MS = 20_000
"""How long control may hold a request open until something changes."""
RETRY_MIN_S = 0.1
RETRY_MAX_S = 2.0
START_S = 15.0
"""How long control may need at a start of everything before its absence is worth a line."""
COMPACT_AFTER = 1000
"""Changes that the journal may have beyond twice the live documents before it is written anew: the
work of that is spread over at least as many changes as there are documents."""
MANY_CHANGES = 10_000
"""A page of so many changes is a configuration, not an update of one."""

BROKEN = 1 << 62
"""Lines of a journal that could not be written: more than any bound."""


class _Place(msgspec.Struct, frozen=True):
    stream: str
    next: int


class _JournalPage(ChangePage, frozen=True, kw_only=True):
    """A page with the kinds of documents that were kept of it."""

    kinds: tuple[str, ...] = ()


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
        *,
        kinds: Collection[str] = frozenset(DOCUMENTS),
    ) -> None:
        """``apply(changes, reset)`` gets (kind, key, document or None); it must not raise.

        Only documents of ``kinds`` are read, kept and applied."""
        self._kinds = tuple(sorted(kinds))
        self._decoders = {kind: msgspec.json.Decoder(DOCUMENTS[kind]) for kind in kinds}
        self._client = client
        self._journal = journal
        self._apply = apply
        self._live: dict[str, dict[str, Change]] = {kind: {} for kind in kinds}
        """Kind -> key -> the newest change."""
        self._place = _Place("", 0)
        self._lines = 0
        self._complete = True
        """Whether the disk copy has every kind: one of an earlier version may lack some."""
        self.connected = False
        self.synchronised = asyncio.Event()
        """Set once the present state, from control or from the disk copy, has been applied."""

    def revision(self, kind: str, key: str) -> int:
        """Number of a document's newest change; 0 where there is no such document."""
        newest = self._live[kind].get(key)
        return 0 if newest is None else newest.seq

    @property
    def position(self) -> int:
        """The last change that was applied; 0: none."""
        return self._place.next

    def load(self) -> bool:
        """Apply the disk copy. Returns whether there was one."""
        try:
            with self._journal.open("rb") as file:
                make_private(
                    file.fileno()
                )  # an earlier version, or a backup, may have left it open
                data = file.read()
        except FileNotFoundError:
            return False
        with building_for_good():
            whole = self._read(data)
            found = self._place.stream != ""
            if found:
                self._apply_live()
        if not found:
            self._journal.unlink()  # nothing but a torn line
            return False
        if not whole or self._is_long():
            self._rewrite()
        if not self._complete:
            self._place = _Place("", 0)  # it serves until control sends everything
        self.synchronised.set()
        return True

    def _read(self, data: bytes) -> bool:
        """Learn what the journal's pages have come to. Returns whether it ends with a whole one."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            try:
                page = msgspec.json.decode(memoryview(data)[start:end], type=_JournalPage)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                # What follows builds on what cannot be read: stop here, control sends the rest.
                logger("follower").error("the disk copy is damaged", error=str(error))
                return False
            self._complete = (page.reset or self._complete) and set(self._kinds) <= set(page.kinds)
            self._fold(page)
            self._lines += 1 + len(page.changes)
            start = end + 1
        return start == len(data)

    def _fold(self, page: ChangePage) -> None:
        if page.reset:
            self._clear()
        for change in page.changes:
            if change.kind not in self._decoders:
                continue  # of no use to this role, or of a newer control
            live = self._live[intern(change.kind)]
            if change.doc == DELETED:
                live.pop(change.key, None)
            else:
                live[change.key] = _kept(change)
        self._place = _Place(page.stream, page.next)

    def _apply_live(self) -> None:
        """Apply the newest documents, and none that they have replaced: what was true once, and is
        not now, is nobody's business again."""
        decoded: list[tuple[str, str, msgspec.Struct | None]] = []
        for kind, live in self._live.items():
            for key, change in list(live.items()):
                document = self._decoded(change)
                if document is None:
                    del live[key]
                else:
                    decoded.append((kind, key, document))
        self._apply(decoded, True)

    def _clear(self) -> None:
        for live in self._live.values():
            live.clear()

    def _decoded(self, change: Change) -> msgspec.Struct | None:
        """The document. None, and a line, for what cannot be understood: it must not leave an
        earlier, wider right in force."""
        try:
            return self._decoders[change.kind].decode(change.doc)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            logger("follower").error("document refused", key=change.key, error=str(error))
            return None

    def _documents(self) -> int:
        return sum(map(len, self._live.values()))

    def _is_long(self) -> bool:
        return self._lines > 2 * self._documents() + COMPACT_AFTER

    async def run(self) -> None:
        """Follow until cancelled. Control being away is logged once and retried with back-off."""
        log = logger("follower")
        delay = RETRY_MIN_S
        told = False
        present = asyncio.get_running_loop().time
        begin = present()
        while True:
            try:
                page = await self._fetch()
            except (httpx.HTTPError, msgspec.DecodeError, OSError) as error:
                # At a start of everything, control may well be the last to be there.
                if not told and (self.connected or present() - begin >= START_S):
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
        if len(page.changes) < MANY_CHANGES:
            self._take_in_order(page)
            return
        with building_for_good():
            self._take_in_order(page)

    def _take_in_order(self, page: ChangePage) -> None:
        if page.reset:
            self._clear()
        decoded: list[tuple[str, str, msgspec.Struct | None]] = []
        for change in page.changes:
            if change.kind not in self._decoders:
                continue  # of no use to this role, or of a newer control
            kind = intern(change.kind)
            live = self._live[kind]
            document = None if change.doc == DELETED else self._decoded(change)
            if document is None:
                live.pop(change.key, None)
            else:
                live[change.key] = _kept(change)
            decoded.append((kind, change.key, document))
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
        self._complete = page.reset or self._complete
        self._take(page)
        if not written:
            self._lines = BROKEN
        if self._is_long():
            try:
                self._rewrite()
            except OSError:
                self._lines = BROKEN

    def _append(self, page: ChangePage) -> None:
        if self._lines == BROKEN:
            return  # what is there may be torn; it is about to be written whole
        needed = [change for change in page.changes if change.kind in self._decoders]
        kept = _JournalPage(
            stream=page.stream,
            reset=page.reset,
            changes=needed,
            next=page.next,
            more=page.more,
            kinds=self._kinds,
        )
        # For this user alone, as when it is written whole.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with os.fdopen(os.open(self._journal, flags, 0o600), "ab") as file:
            make_private(file.fileno())
            file.write(msgspec.json.encode(kept) + b"\n")
        self._lines += 1 + len(needed)

    def _rewrite(self) -> None:
        page = _JournalPage(
            stream=self._place.stream,
            reset=True,
            changes=[change for live in self._live.values() for change in live.values()],
            next=self._place.next,
            more=False,
            kinds=self._kinds if self._complete else (),
        )
        write_atomically(self._journal, msgspec.json.encode(page) + b"\n", 0o600)
        self._lines = self._documents()


def _kept(change: Change) -> Change:
    """A copy: what the page's decoder gives keeps the whole page in memory."""
    return Change(change.seq, intern(change.kind), change.key, change.doc.copy())
