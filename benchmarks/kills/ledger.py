"""Proof that usage is exact: each acknowledged prediction in the log once, each line in usage once.

The gateway deletes a segment of its usage log when control has taken it. The ledger keeps a hard
link to every segment, so that at the end the whole log can be compared with the prediction ids
that clients got, and with the totals that control reports.
"""

import contextlib
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Self

import msgspec

import tollway
from protocol.usage import UsageRecord

SUFFIX = ".usage"
LOOK_S = 0.02
SHIPPED_S = 20.0
"""How long control may take to have everything."""

_decode = msgspec.json.Decoder(UsageRecord).decode


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Acknowledged answers against the usage log and against what control reports."""

    acknowledged: int
    """Answers of status 200 that clients got whole."""
    logged: int
    """Records of status 200 in the gateway's log. More than acknowledged where a connection was
    lost with its answer on the way."""
    reported: int
    """Requests of status 200 in ``GET /api/v1/usage``."""
    missing: int
    """Acknowledged prediction ids that the log does not have."""
    doubled: int
    """Prediction ids that the log has more than once."""

    @property
    def exact(self) -> bool:
        """Whether nothing is lost and nothing is counted twice."""
        return not self.missing and not self.doubled and self.reported == self.logged


class Ledger:
    """Watches the usage log below ``data``; links go to ``kept`` on the same file system."""

    def __init__(self, data: Path, kept: Path) -> None:
        self._data = data
        self._kept = kept
        self._kept.mkdir(parents=True)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="usage-ledger", daemon=True)

    def __enter__(self) -> Self:
        self._link()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def account(self, client: tollway.Client, application: str, ids: list[str]) -> Account:
        """Compare, once control reports as much as the log has or ``SHIPPED_S`` have passed."""
        deadline = time.monotonic() + SHIPPED_S
        while True:
            self._link()
            logged = logged_ids(self._kept, application)
            late = time.monotonic() > deadline
            try:
                reported = _reported(client, application)
            except (tollway.NotReadyError, tollway.ConnectionFailed):
                if late:
                    raise
                reported = -1  # control was killed last, and is not back yet
            if reported >= sum(logged.values()) or late:
                break
            time.sleep(0.25)
        return compare(ids, logged, reported)

    def _watch(self) -> None:
        while not self._stopping.wait(LOOK_S):
            self._link()

    def _link(self) -> None:
        for segment in self._data.rglob("*" + SUFFIX):
            link = self._kept / segment.name
            # It may have been shipped and deleted meanwhile, but then it was linked before: the
            # segment that is being written is never deleted.
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                if not link.exists():
                    os.link(segment, link)


def compare(ids: list[str], logged: Counter[str], reported: int) -> Account:
    """The account of what clients got, what the log has, and what control reports."""
    return Account(
        acknowledged=len(ids),
        logged=sum(logged.values()),
        reported=reported,
        missing=sum(1 for id_ in ids if id_ not in logged),
        doubled=sum(1 for times in logged.values() if times > 1),
    )


def logged_ids(folder: Path, application: str) -> Counter[str]:
    """Prediction id -> records of status 200 in the segments of ``folder``."""
    found: Counter[str] = Counter()
    for segment in folder.glob("*" + SUFFIX):
        # What stands after the last newline was torn by a kill, and never acknowledged.
        for line in segment.read_bytes().split(b"\n")[:-1]:
            record = _decode(line)
            if record.application == application and record.status == 200:
                found[record.prediction_id] += 1
    return found


def _reported(client: tollway.Client, application: str) -> int:
    rows = client.usage(by=("application", "status"))
    return sum(row.requests for row in rows if row.application == application and row.status == 200)
