"""Verification of an audit log: entries and checkpoints in, findings out. Pure; reads nothing.

What is found: an entry that was edited, removed, reordered or put in, checkpoints of which the same
is true, and a log that was cut off or computed anew, as far as checkpoints reach.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from registry.chain import FIELDS, GENESIS, content_hash
from registry.checkpoint import Checkpoint, PublicKeys, checkpoint_hash

MAX_FINDINGS: Final = 1000
"""Findings that are kept; further ones are counted."""
_END: Final = 1 << 63
Source = Literal["database", "archive", "file"]
"""``file``: a copy of the checkpoints alone, which may have been begun later than the log."""


class StoredEntry(NamedTuple):
    """An entry as it is found: anything may be wrong with it."""

    fields: Mapping[str, object]
    hash: object


class StoredCheckpoint(NamedTuple):
    """A checkpoint as it is found."""

    fields: Mapping[str, object]
    source: Source


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it was recorded. ``seq``: the entry where it shows."""

    seq: int
    problem: Literal["edited", "missing", "misplaced", "truncated", "checkpoint"]
    detail: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a verification found."""

    entries: int
    first: int | None
    last: int | None
    hash: str
    """Hash of the last entry."""
    checkpoints: int
    checked_signatures: bool
    findings: tuple[Finding, ...]
    further: int
    """Findings beyond those listed."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


def merged(
    entries: Iterable[StoredEntry], *checkpoints: Iterable[StoredCheckpoint]
) -> Iterator[StoredEntry | StoredCheckpoint]:
    """Everything in the order in which :class:`Verifier` takes it: each checkpoint follows the
    entry that it is about. Streams."""
    streams: list[Iterable[StoredEntry | StoredCheckpoint]] = [entries, *checkpoints]
    yield from heapq.merge(*streams, key=_place)


def _place(item: StoredEntry | StoredCheckpoint) -> tuple[int, int]:
    seq = item.fields.get("seq")
    place = seq if isinstance(seq, int) else _END
    return place, int(isinstance(item, StoredCheckpoint))


class Verifier:
    """Takes the log in the order of :func:`merged`; memory does not grow with it."""

    def __init__(self, keys: PublicKeys | None) -> None:
        """``keys`` None: signatures are not checked, what checkpoints say is."""
        self._keys = keys
        self._findings: list[Finding] = []
        self._further = 0
        self._entries = 0
        self._checkpoints: Counter[str] = Counter()
        """By where they are: the copies in the file are no further ones."""
        self._first: int | None = None
        self._last = 0
        self._hash = GENESIS
        self._latest: dict[Source, Checkpoint | None] = {}

    def take(self, item: StoredEntry | StoredCheckpoint) -> None:
        """Check the next item."""
        if isinstance(item, StoredEntry):
            self._entry(item)
        else:
            self._checkpoint(item)

    def head(self, seq: int, hash: str) -> None:
        """Check the end against the database's own note of it. Call it last."""
        if seq != self._last:
            self._find(
                max(seq, self._last),
                "truncated" if seq > self._last else "misplaced",
                f"the log ends with entry {self._last}, but its head says {seq}",
            )
        elif hash != self._hash:
            self._find(seq, "edited", f"the head does not hold the hash of entry {seq}")

    def report(self) -> Report:
        """What was found."""
        in_file, in_database = self._latest.get("file"), self._latest.get("database")
        if in_file and "database" in self._latest:
            known = 0 if in_database is None else in_database.number
            if in_file.number > known:
                self._find(
                    in_file.seq,
                    "checkpoint",
                    f"checkpoints {known + 1} to {in_file.number} are missing from the database",
                )
        return Report(
            entries=self._entries,
            first=self._first,
            last=self._last if self._entries else None,
            hash=self._hash,
            checkpoints=max(self._checkpoints.values(), default=0),
            checked_signatures=self._keys is not None,
            findings=tuple(self._findings),
            further=self._further,
        )

    def expect(self, source: Source) -> None:
        """Say that checkpoints of ``source`` are part of what comes, even if there are none."""
        self._latest.setdefault(source, None)

    def _entry(self, stored: StoredEntry) -> None:
        fields = stored.fields
        seq = fields.get("seq")
        expected = self._last + 1
        if not isinstance(seq, int) or isinstance(seq, bool):
            self._find(expected, "edited", f"entry {expected} or one after it has no number")
            return
        self._entries += 1
        self._first = seq if self._first is None else self._first
        if seq > expected:
            gone = (
                f"entry {expected} is"
                if seq == expected + 1
                else (f"entries {expected} to {seq - 1} are")
            )
            self._find(expected, "missing", f"{gone} missing")
        elif seq < expected:
            self._find(seq, "misplaced", f"entry {seq} stands behind entry {self._last}")
        elif fields.get("previous") != self._hash:
            self._find(seq, "misplaced", f"entry {seq} does not follow the entry before it")
        if not _unchanged(stored):
            self._find(seq, "edited", f"entry {seq} is not what was recorded")
        self._last = seq
        self._hash = stored.hash if isinstance(stored.hash, str) else ""

    def _checkpoint(self, stored: StoredCheckpoint) -> None:
        try:
            checkpoint = msgspec.convert(stored.fields, Checkpoint)
        except msgspec.ValidationError:
            self._find(self._last, "checkpoint", f"a checkpoint in the {stored.source} is damaged")
            return
        self._checkpoints[stored.source] += 1
        name = f"checkpoint {checkpoint.number} in the {stored.source}"
        self._link(checkpoint, stored.source, name)
        problem = None if self._keys is None else self._keys.problem(checkpoint)
        if problem is not None:
            self._find(checkpoint.seq, "checkpoint", f"{name} {problem}")
            return  # what it says is worth nothing
        if checkpoint.seq != self._last:
            self._find(
                checkpoint.seq,
                "truncated" if checkpoint.seq > self._last else "missing",
                f"entry {checkpoint.seq} is missing, which {name} is about",
            )
        elif checkpoint.hash != self._hash:
            self._find(
                checkpoint.seq,
                "edited",
                f"entry {checkpoint.seq} is not the one that {name} was signed for",
            )

    def _link(self, checkpoint: Checkpoint, source: Source, name: str) -> None:
        earlier = self._latest.get(source)
        self._latest[source] = checkpoint
        if earlier is None and source == "file":
            return
        number = 0 if earlier is None else earlier.number
        if checkpoint.number != number + 1 or checkpoint.previous != checkpoint_hash(earlier):
            self._find(checkpoint.seq, "checkpoint", f"{name} does not follow checkpoint {number}")

    def _find(
        self,
        seq: int,
        problem: Literal["edited", "missing", "misplaced", "truncated", "checkpoint"],
        detail: str,
    ) -> None:
        if len(self._findings) < MAX_FINDINGS:
            self._findings.append(Finding(seq, problem, detail))
        else:
            self._further += 1


def _unchanged(stored: StoredEntry) -> bool:
    if set(stored.fields) != set(FIELDS):
        return False
    try:
        return content_hash(stored.fields) == stored.hash
    except ValueError:
        return False
