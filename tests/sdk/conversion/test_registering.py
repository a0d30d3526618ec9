"""Converters are registered in tables that are skl2onnx's, and so everybody's."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from tollway.conversion import converters


def test_threads_that_convert_at_once_register_once_and_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patched: list[float] = []

    def slow() -> None:
        time.sleep(0.05)
        patched.append(time.monotonic())

    monkeypatch.setattr(converters, "patch", slow)
    converters._register_once.cache_clear()
    together = Barrier(4)

    def registered() -> float:
        together.wait()
        converters.register()
        return time.monotonic()

    try:
        with ThreadPoolExecutor(4) as pool:
            returned = [one.result() for one in [pool.submit(registered) for _ in range(4)]]
    finally:
        converters._register_once.cache_clear()  # others need what was not patched here
    assert len(patched) == 1
    assert min(returned) >= patched[0]
