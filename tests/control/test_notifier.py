"""Long polls wake for commits of this process, for those of others, and for the end."""

import asyncio
import threading

import pytest

from control.notifier import ChangeNotifier

PATIENCE_S = 5.0


class Head:
    """The number of the newest change, and how often it was asked for."""

    def __init__(self) -> None:
        self.number = 0
        self.reads = 0
        self.failures = 0
        self._read = asyncio.Condition()

    async def read(self) -> int:
        async with self._read:
            self.reads += 1
            self._read.notify_all()
        if self.failures:
            self.failures -= 1
            raise OSError("the database is away")
        return self.number

    async def was_read(self, times: int) -> None:
        """Return once the number has been asked for so many times."""
        async with self._read:
            await self._read.wait_for(lambda: self.reads >= times)


async def open_notifier(head: Head, poll_s: float) -> ChangeNotifier:
    notifier = ChangeNotifier(head.read, poll_s)
    notifier.open()
    return notifier


async def test_a_commit_in_another_thread_wakes_at_once() -> None:
    head = Head()
    notifier = await open_notifier(head, poll_s=3600)
    waiting = asyncio.create_task(notifier.wait(0, 3600))
    await head.was_read(1)

    head.number = 1
    threading.Thread(target=notifier.committed).start()

    await asyncio.wait_for(waiting, PATIENCE_S)


async def test_a_change_by_another_process_is_found_by_polling() -> None:
    head = Head()
    notifier = await open_notifier(head, poll_s=0.01)
    waiting = asyncio.create_task(notifier.wait(0, 3600))
    await head.was_read(2)

    head.number = 7

    await asyncio.wait_for(waiting, PATIENCE_S)


async def test_nobody_is_woken_by_a_commit_that_changed_nothing() -> None:
    head = Head()
    notifier = await open_notifier(head, poll_s=3600)
    waiting = asyncio.create_task(notifier.wait(0, 3600))
    for reads in (1, 2, 3):
        await head.was_read(reads)
        notifier.committed()

    assert not waiting.done()
    notifier.close()
    await asyncio.wait_for(waiting, PATIENCE_S)


async def test_a_change_before_the_wait_is_not_missed() -> None:
    head = Head()
    head.number = 3
    notifier = await open_notifier(head, poll_s=3600)

    await asyncio.wait_for(notifier.wait(2, 3600), PATIENCE_S)


async def test_closing_wakes_everybody_and_later_waits_return_at_once() -> None:
    notifier = await open_notifier(Head(), poll_s=3600)
    waiting = [asyncio.create_task(notifier.wait(0, 3600)) for _ in range(20)]
    await asyncio.sleep(0)

    notifier.close()

    await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S)
    await asyncio.wait_for(notifier.wait(0, 3600), PATIENCE_S)


async def test_a_wait_ends_when_its_time_is_over() -> None:
    notifier = await open_notifier(Head(), poll_s=3600)

    await asyncio.wait_for(notifier.wait(0, 0.01), PATIENCE_S)


async def test_the_database_is_not_asked_while_nobody_waits() -> None:
    head = Head()
    notifier = await open_notifier(head, poll_s=0.001)
    await notifier.wait(0, 0.01)
    await asyncio.sleep(0)
    reads = head.reads

    for _ in range(20):
        notifier.committed()
        await asyncio.sleep(0.001)

    assert head.reads <= reads + 1


async def test_waiting_outlives_a_database_that_is_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    head = Head()
    head.failures = 2
    head.number = 1
    notifier = await open_notifier(head, poll_s=0.001)

    await asyncio.wait_for(notifier.wait(0, 3600), PATIENCE_S)

    assert head.reads >= 3
    assert "database is away" in "".join(capsys.readouterr())
