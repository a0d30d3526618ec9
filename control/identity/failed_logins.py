"""Failed logins in the audit log: each is counted, none can flood it.

The first failure from an address is recorded at once, those of the minute after it together with
their number. So a guessing attempt shows within a second, and an address that never stops leaves
one entry a minute.
"""

import threading
from ipaddress import IPv6Address, ip_address
from typing import Final

from control.store.failures import DatabaseError
from registry.acting import ANONYMOUS, Acting, acting, acting_as
from registry.clock import Clock
from registry.store import audit
from registry.store.database import Database
from runtime.logs import logger

WINDOW_MS: Final = 60_000
MAX_ADDRESSES: Final = 200
"""Addresses that are told apart within a minute; failures from more share one entry."""
OTHERS: Final = "others"


class _Window:
    def __init__(self, began_ms: int) -> None:
        self.began_ms = began_ms
        self.count = 0
        self.what = ""
        self.request_id = ""


class FailedLogins:
    """Counts and records failed logins. Thread-safe; calls may block on the database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}

    def note(self, what: str) -> None:
        """A login failed, from the address of :func:`acting`. ``what`` says which credential it was
        about, in a few words, and holds no part of it."""
        origin = acting()
        now = self._clock()
        with self._lock:
            address = network(origin.address)
            window = self._windows.get(address)
            if window is None and len(self._windows) >= MAX_ADDRESSES:
                address = OTHERS
                window = self._windows.get(address)
            if window is not None and now - window.began_ms < WINDOW_MS:
                window.count += 1
                window.what, window.request_id = what, origin.request_id
                return
            count = 1 + (0 if window is None else window.count)
            self._windows[address] = _Window(now)
        self._record(address, origin.request_id, what, count, now)

    def flush(self) -> int:
        """Record what was counted in windows that are over. Returns how many failures that were."""
        return self._flush(WINDOW_MS)

    def close(self) -> None:
        """Record everything that was counted."""
        self._flush(0)

    def _flush(self, age_ms: int) -> int:
        now = self._clock()
        with self._lock:
            over = {
                address: window
                for address, window in self._windows.items()
                if now - window.began_ms >= age_ms
            }
            for address, window in over.items():
                if window.count and age_ms:
                    self._windows[address] = _Window(now)  # its entry is this minute's
                else:
                    del self._windows[address]
        for address, window in over.items():
            if window.count:
                self._record(address, window.request_id, window.what, window.count, now)
        return sum(window.count for window in over.values())

    def _record(self, address: str, request_id: str, what: str, count: int, now: int) -> None:
        origin = Acting(actor=ANONYMOUS, role=ANONYMOUS, address=address, request_id=request_id)
        state = {"failures": count, "credential": what}
        try:
            with acting_as(origin), self._database.write() as connection:
                audit.record(connection, "login.failed", "login", address, at_ms=now, after=state)
        except DatabaseError as error:
            # The login is refused all the same; the log of the process has what the audit lacks.
            logger("audit").error(
                "failed logins could not be recorded",
                address=address,
                failures=count,
                error=repr(error),
            )


def network(address: str) -> str:
    """The address that failures are counted by: for IPv6 its /64, of which a client has all."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address or "unknown"
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return address
