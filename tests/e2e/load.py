"""A bounded load of predictions over keep-alive connections, for tests that kill something."""

import threading
from collections import Counter

import httpx

from tests.e2e.stack import RunningStack


class Load:
    """Threads that predict in a loop until told to stop, and remember every acknowledged answer."""

    MAX_REQUESTS = 20_000

    def __init__(self, stack: RunningStack, key: str, path: str, body: object) -> None:
        self._stack = stack
        self._key = key
        self._path = path
        self._body = body
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.statuses: Counter[int] = Counter()
        self.refused = 0
        """Requests that found nobody to take them: no connection, nothing lost."""
        self.broken = 0
        """Requests that were taken, and got no answer."""
        self.acknowledged: set[str] = set()
        """Prediction ids of answers of status 200."""
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=40)
            assert not thread.is_alive(), "a request was left hanging"

    def answered(self) -> int:
        """Answers of status 200 so far."""
        return self.statuses[200]

    def _run(self) -> None:
        with self._stack.api(self._key) as client:
            for _ in range(self.MAX_REQUESTS):
                if self._stop.is_set():
                    return
                try:
                    answer = client.post(self._path, json=self._body)
                except httpx.ConnectError:
                    with self._lock:
                        self.refused += 1
                    continue
                except httpx.HTTPError:
                    with self._lock:
                        self.broken += 1
                    continue
                with self._lock:
                    self.statuses[answer.status_code] += 1
                    if answer.status_code == 200:
                        self.acknowledged.add(answer.headers["tollway-prediction-id"])
