"""Writers of the change stream and the audit log, in whatever order, never wait in a circle."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from control.audit.log import verify_database
from protocol.configuration import ModelDoc
from registry.publish import VersionRequest
from registry.store import audit, changes
from registry.store.database import Database
from tests.registry.conftest import make_bench

WRITERS = 16
ROUNDS = 15


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """SQLite has one writer at a time anyway."""
    return postgres_url


def together(work: list[Callable[[], None]]) -> None:
    """Run every function of ``work`` at the same moment; raises what any of them raises."""
    barrier = threading.Barrier(len(work))

    def one(function: Callable[[], None]) -> None:
        barrier.wait(timeout=30)
        function()

    with ThreadPoolExecutor(len(work)) as pool:
        for done in [pool.submit(one, function) for function in work]:
            done.result()


def test_it_makes_no_difference_which_log_is_written_first(database: Database) -> None:
    def write(first: str, number: int) -> None:
        for round in range(ROUNDS):
            with database.write() as connection:
                document = ModelDoc(name=f"m-{number}", aliases={"stable": round})
                steps = ["stream", "audit", "stream", "audit"]
                for step in steps if first == "stream" else reversed(steps):
                    if step == "stream":
                        changes.append(connection, "model", document.name, document)
                    else:
                        audit.record(
                            connection, "model.changed", "model", document.name, at_ms=round,
                            after=document,
                        )  # fmt: skip

    together(
        [
            lambda first=first, number=number: write(first, number)
            for number in range(WRITERS // 2)
            for first in ("stream", "audit")
        ]
    )

    report = verify_database(database, None)
    assert report.findings == ()
    assert report.entries == WRITERS * ROUNDS * 2


def test_publishing_and_moving_aliases_at_once_leaves_one_sound_chain(
    database: Database, tmp_path: Path
) -> None:
    bench = make_bench(database, tmp_path)
    versions = [bench.to_state(bench.publish(), "published") for _ in range(2)]
    aliases, publisher = bench.registry.aliases, bench.registry.publisher

    def move(number: int) -> None:
        for round in range(ROUNDS):
            aliases.set(
                "credit", f"a-{number % 3}", versions[round % 2].number, actor="ann", expected=None
            )

    def publish(number: int) -> None:
        artifact = versions[0].manifest.artifact
        for round in range(3):
            wish = VersionRequest(artifact=artifact, description=f"{number}/{round}")
            publisher.publish("credit", wish, actor=f"p-{number}")

    def rename(number: int) -> None:
        for round in range(ROUNDS):
            bench.registry.models.put("credit", title=f"{number}/{round}")

    together(
        [
            lambda number=number, work=work: work(number)
            for work in (move, publish, rename)
            for number in range(5)
        ]
    )

    assert verify_database(database, None).findings == ()
