"""The follower applies changes once and in order, and starts from its disk copy."""

import asyncio
from collections.abc import Collection
from pathlib import Path

import httpx
import msgspec
import pytest

from protocol.configuration import DELETED, DOCUMENTS, Change, ChangePage, ModelDoc
from runtime.follower import ChangeFollower


class FakeControl:
    """A change stream in memory."""

    def __init__(self) -> None:
        self.stream = "s1"
        self.rows: list[Change] = []
        self.away = False
        self.asked: list[tuple[str, int]] = []
        self.changed = asyncio.Event()

    def add(self, name: str, **aliases: int) -> None:
        doc = msgspec.Raw(msgspec.json.encode(ModelDoc(name=name, aliases=aliases)))
        self.rows.append(Change(len(self.rows) + 1, "model", name, doc))
        self.changed.set()

    def remove(self, name: str) -> None:
        self.rows.append(Change(len(self.rows) + 1, "model", name, DELETED))
        self.changed.set()

    async def handle(self, request: httpx.Request) -> httpx.Response:
        if self.away:
            raise httpx.ConnectError("away")
        stream, after = request.url.params["stream"], int(request.url.params["after"])
        self.asked.append((stream, after))
        if stream == self.stream and after == len(self.rows):
            self.changed.clear()
            await self.changed.wait()
        reset = stream != self.stream or after > len(self.rows)
        page = ChangePage(
            stream=self.stream,
            reset=reset,
            changes=self.rows if reset else self.rows[after:],
            next=len(self.rows),
            more=False,
        )
        return httpx.Response(200, content=msgspec.json.encode(page))


class Seen:
    def __init__(self) -> None:
        self.models: dict[str, dict[str, int]] = {}
        self.resets = 0
        self.arrived = asyncio.Event()

    def apply(self, changes: list[tuple[str, str, msgspec.Struct | None]], reset: bool) -> None:
        if reset:
            self.models.clear()
            self.resets += 1
        for _, key, document in changes:
            if document is None:
                self.models.pop(key, None)
            elif isinstance(document, ModelDoc):
                self.models[key] = document.aliases
        self.arrived.set()

    async def until(self, expected: dict[str, dict[str, int]]) -> None:
        async with asyncio.timeout(5):
            while self.models != expected:
                self.arrived.clear()
                await self.arrived.wait()


@pytest.fixture
def control() -> FakeControl:
    return FakeControl()


def follower(
    control: FakeControl, seen: Seen, folder: Path, kinds: Collection[str] = frozenset(DOCUMENTS)
) -> ChangeFollower:
    client = httpx.AsyncClient(
        transport=httpx.MockTransport(control.handle), base_url="http://control"
    )
    return ChangeFollower(client, folder / "journal", seen.apply, kinds=kinds)


async def test_changes_arrive_in_order(control: FakeControl, tmp_path: Path) -> None:
    seen = Seen()
    control.add("a", stable=1)
    task = asyncio.create_task(follower(control, seen, tmp_path).run())
    await seen.until({"a": {"stable": 1}})
    assert (tmp_path / "journal").stat().st_mode & 0o777 == 0o600
    control.add("b")
    control.add("a", stable=2)
    await seen.until({"a": {"stable": 2}, "b": {}})
    control.remove("b")
    await seen.until({"a": {"stable": 2}})
    task.cancel()


async def test_a_disk_copy_that_others_could_read_is_closed_to_them_when_it_is_opened(
    control: FakeControl, tmp_path: Path
) -> None:
    seen, journal = Seen(), tmp_path / "journal"
    control.add("a", stable=1)
    task = asyncio.create_task(follower(control, seen, tmp_path).run())
    await seen.until({"a": {"stable": 1}})
    journal.chmod(0o644)
    control.add("b")
    await seen.until({"a": {"stable": 1}, "b": {}})
    assert journal.stat().st_mode & 0o777 == 0o600
    task.cancel()

    journal.chmod(0o644)
    assert follower(control, Seen(), tmp_path).load()
    assert journal.stat().st_mode & 0o777 == 0o600


async def test_disk_copy_serves_a_start_without_control(
    control: FakeControl, tmp_path: Path
) -> None:
    seen = Seen()
    control.add("a", stable=1)
    control.add("b")
    task = asyncio.create_task(follower(control, seen, tmp_path).run())
    await seen.until({"a": {"stable": 1}, "b": {}})
    control.remove("b")
    await seen.until({"a": {"stable": 1}})
    task.cancel()

    again = Seen()
    second = follower(control, again, tmp_path)
    assert second.load()
    assert again.models == {"a": {"stable": 1}}
    assert second.synchronised.is_set()
    control.asked.clear()
    task = asyncio.create_task(second.run())
    control.add("c")
    await again.until({"a": {"stable": 1}, "c": {}})
    assert control.asked[0] == ("s1", 3)  # it went on where it was
    task.cancel()


async def test_what_a_document_was_before_is_not_applied_again_at_a_start(
    control: FakeControl, tmp_path: Path
) -> None:
    seen = Seen()
    control.add("a", stable=1)
    task = asyncio.create_task(follower(control, seen, tmp_path).run())
    await seen.until({"a": {"stable": 1}})
    control.add("a", stable=2)
    await seen.until({"a": {"stable": 2}})
    control.add("b")
    await seen.until({"a": {"stable": 2}, "b": {}})
    control.remove("b")
    await seen.until({"a": {"stable": 2}})
    task.cancel()

    applied: list[tuple[list[tuple[str, msgspec.Struct | None]], bool]] = []
    again = follower(control, seen, tmp_path)
    again._apply = lambda changes, reset: applied.append(([one[1:] for one in changes], reset))
    assert again.load()
    assert applied == [([("a", ModelDoc(name="a", aliases={"stable": 2}))], True)]


async def test_a_whole_journal_is_not_written_again_at_a_start(
    control: FakeControl, tmp_path: Path
) -> None:
    seen = Seen()
    control.add("a", stable=1)
    task = asyncio.create_task(follower(control, seen, tmp_path).run())
    await seen.until({"a": {"stable": 1}})
    task.cancel()
    before = (tmp_path / "journal").stat()
    assert follower(control, Seen(), tmp_path).load()
    after = (tmp_path / "journal").stat()
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)


async def test_a_journal_is_written_anew_when_most_of_it_is_superseded(
    control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.follower.COMPACT_AFTER", 10)
    seen = Seen()
    task = asyncio.create_task(follower(control, seen, tmp_path).run())
    for number in range(1, 40):
        control.add("a", stable=number)
        await seen.until({"a": {"stable": number}})
    task.cancel()
    lines = (tmp_path / "journal").read_bytes().splitlines()
    assert len(lines) < 10
    again = Seen()
    assert follower(control, again, tmp_path).load()
    assert again.models == {"a": {"stable": 39}}


async def test_only_the_kinds_that_a_role_needs_are_kept(
    control: FakeControl, tmp_path: Path
) -> None:
    secret = msgspec.Raw(b'{"id": "k", "hash": "0123"}')
    control.rows.append(Change(1, "key", "k", secret))
    control.add("a", stable=1)
    seen = Seen()
    task = asyncio.create_task(follower(control, seen, tmp_path, {"model"}).run())
    await seen.until({"a": {"stable": 1}})
    task.cancel()
    assert b"0123" not in (tmp_path / "journal").read_bytes()


@pytest.mark.parametrize("torn", [False, True])
async def test_a_disk_copy_without_a_kind_that_is_needed_now_serves_until_control_sends_all(
    control: FakeControl, tmp_path: Path, torn: bool
) -> None:
    control.add("a", stable=1)
    seen = Seen()
    task = asyncio.create_task(follower(control, seen, tmp_path, {"model"}).run())
    await seen.until({"a": {"stable": 1}})
    task.cancel()
    if torn:
        with (tmp_path / "journal").open("ab") as file:
            file.write(b'{"stream"')

    again = Seen()
    upgraded = follower(control, again, tmp_path, {"model", "plan"})
    assert upgraded.load()
    assert again.models == {"a": {"stable": 1}}
    control.asked.clear()
    resets = again.resets
    task = asyncio.create_task(upgraded.run())
    async with asyncio.timeout(5):
        while again.resets == resets:
            again.arrived.clear()
            await again.arrived.wait()
    task.cancel()
    assert control.asked[0] == ("", 0)
    third = follower(control, Seen(), tmp_path, {"model", "plan"})
    assert third.load()
    control.asked.clear()
    task = asyncio.create_task(third.run())
    async with asyncio.timeout(5):
        while not control.asked:  # noqa: ASYNC110 -- another task's state
            await asyncio.sleep(0.001)
    task.cancel()
    assert control.asked[0] == ("s1", 1)


@pytest.mark.parametrize("torn", [b'{"stream":"s1","reset":false,"chan', b'{"stream":"\xff"}\n'])
async def test_torn_last_line_is_dropped(control: FakeControl, tmp_path: Path, torn: bytes) -> None:
    seen = Seen()
    control.add("a", stable=1)
    task = asyncio.create_task(follower(control, seen, tmp_path).run())
    await seen.until({"a": {"stable": 1}})
    task.cancel()
    with (tmp_path / "journal").open("ab") as file:
        file.write(torn)
    again = Seen()
    assert follower(control, again, tmp_path).load()
    assert again.models == {"a": {"stable": 1}}


async def test_journal_of_nothing_but_a_torn_line_counts_as_none(
    control: FakeControl, tmp_path: Path
) -> None:
    (tmp_path / "journal").write_bytes(b'{"stream":"s1"')
    assert not follower(control, Seen(), tmp_path).load()
    assert not (tmp_path / "journal").exists()


async def test_another_database_starts_over(control: FakeControl, tmp_path: Path) -> None:
    seen = Seen()
    control.add("a", stable=1)
    task = asyncio.create_task(follower(control, seen, tmp_path).run())
    await seen.until({"a": {"stable": 1}})
    control.stream, control.rows = "s2", []
    control.add("z")
    await seen.until({"z": {}})
    task.cancel()


async def test_control_being_away_loses_nothing(control: FakeControl, tmp_path: Path) -> None:
    seen = Seen()
    control.away = True
    task = asyncio.create_task(follower(control, seen, tmp_path).run())
    control.add("a", stable=1)
    control.away = False
    await seen.until({"a": {"stable": 1}})
    task.cancel()


async def test_revocation_is_applied_even_when_the_disk_takes_nothing(
    control: FakeControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Seen()
    control.add("a", stable=1)
    one = follower(control, seen, tmp_path)
    task = asyncio.create_task(one.run())
    await seen.until({"a": {"stable": 1}})
    opened = Path.open

    def full(path: Path, *arguments: object, **options: object) -> object:
        if path.name == "journal":
            raise OSError(28, "No space left on device")
        return opened(path, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    monkeypatch.setattr("runtime.follower.write_atomically", full)
    control.remove("a")
    await seen.until({})
    monkeypatch.undo()
    control.add("b")
    await seen.until({"b": {}})
    task.cancel()
    again = Seen()
    assert follower(control, again, tmp_path).load()
    assert again.models == {"b": {}}


async def test_document_that_cannot_be_read_leaves_nothing_in_force(
    control: FakeControl, tmp_path: Path
) -> None:
    seen = Seen()
    control.add("a", stable=1)
    task = asyncio.create_task(follower(control, seen, tmp_path).run())
    await seen.until({"a": {"stable": 1}})
    unknown = msgspec.Raw(b'{"name": "a", "aliases": "a form of a later version"}')
    control.rows.append(Change(len(control.rows) + 1, "model", "a", unknown))
    control.changed.set()
    await seen.until({})
    task.cancel()
