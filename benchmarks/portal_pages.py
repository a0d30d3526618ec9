"""Fetches pages of the portal as a browser does; as a program, crawls them until stdin ends.

python -m benchmarks.portal_pages       reads one line of JSON from stdin
"""

import os
import re
import sys
import threading
from pathlib import Path
from typing import Final

import httpx
import msgspec
import psutil

from benchmarks.stand_in import stand_in

ASSET: Final = re.compile(r'(?:href|src)="(/portal/assets/[^"]+)"')
TIMEOUT_S: Final = 60.0


class Wanted(msgspec.Struct, frozen=True):
    """A page, and who asks for it."""

    name: str
    role: str
    """Empty: nobody who is logged in."""
    path: str
    cookie: str
    """The session's secret."""


class Crawl(msgspec.Struct, frozen=True):
    """What to crawl."""

    url: str
    pages: tuple[Wanted, ...]


class Reader:
    """Loads pages with what they need."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._client = httpx.Client(
            base_url=url, timeout=TIMEOUT_S, trust_env=False, transport=transport
        )
        self._weights: dict[str, int] = {}
        """Bytes of assets on the wire."""

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def get(self, page: Wanted) -> httpx.Response:
        """The page alone."""
        headers = {"cookie": f"tollway_session={page.cookie}"} if page.cookie else {}
        self._client.cookies.clear()
        return self._client.get(page.path, headers=headers, follow_redirects=False)

    def weight(self, answer: httpx.Response) -> int:
        """Bytes on the wire of a page, its style sheets and its scripts."""
        total = answer.num_bytes_downloaded
        for path in sorted(set(ASSET.findall(answer.text))):
            if path not in self._weights:
                found = self._client.get(path).raise_for_status()
                self._weights[path] = found.num_bytes_downloaded
            total += self._weights[path]
        return total


def cpu_ms(pid: int) -> float:
    """CPU time of a process so far: by the scheduler's own books where they are to be had, which
    are finer than the clock's ticks."""
    tasks = list(Path(f"/proc/{pid}/task").glob("*/schedstat"))
    if tasks:
        return sum(_scheduled_ns(task) for task in tasks) / 1e6
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system) * 1000


def _scheduled_ns(task: Path) -> int:
    try:
        return int(task.read_text().split()[0])
    except OSError:
        return 0  # the thread has ended


def main() -> None:
    """Crawl, one page after another. Readers have machines of their own."""
    stand_in()
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Crawl)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    reader = Reader(order.url)
    while True:
        for page in order.pages:
            reader.weight(reader.get(page))


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
