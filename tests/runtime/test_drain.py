"""The bounded queue that a thread empties."""

import threading
from collections.abc import Sequence

from runtime.drain import Drain


def test_everything_that_is_put_is_taken_in_order_and_in_batches() -> None:
    taken: list[Sequence[int]] = []
    drain: Drain[int] = Drain("test", taken.append, capacity=100, batch=3, interval_s=5)
    for number in range(8):
        drain.put((number,))
    drain.start()
    drain.close(5)
    assert taken == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert drain.dropped == 0


def test_a_full_batch_does_not_wait_for_the_interval() -> None:
    done = threading.Event()
    drain: Drain[int] = Drain("test", lambda _: done.set(), capacity=9, batch=2, interval_s=60)
    drain.start()
    drain.put((1, 2))
    assert done.wait(5)
    drain.close(5)


def test_a_batch_that_fails_does_not_keep_the_next_from_being_taken() -> None:
    taken: list[int] = []

    def take(items: Sequence[int]) -> None:
        if items[0] == 1:
            raise ValueError("a defect")
        taken.extend(items)

    drain: Drain[int] = Drain("test", take, capacity=9, batch=1, interval_s=0.001)
    drain.put((1, 2))
    drain.start()
    drain.close(5)
    assert taken == [2]


def test_what_comes_after_the_end_is_dropped_and_counted() -> None:
    drain: Drain[int] = Drain("test", lambda _: None, capacity=9, batch=1, interval_s=0.001)
    drain.start()
    drain.close(5)
    drain.put((1, 2))
    assert drain.dropped == 2


def test_closing_waits_no_longer_than_its_bound() -> None:
    stuck, begun = threading.Event(), threading.Event()

    def take(_: Sequence[int]) -> None:
        begun.set()
        assert stuck.wait(10)

    drain: Drain[int] = Drain("test", take, capacity=9, batch=1, interval_s=0.001)
    drain.put((1,))
    drain.start()
    assert begun.wait(5)
    drain.close(0.01)
    stuck.set()
