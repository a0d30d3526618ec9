"""What users see when a process is killed under load: as little as possible, and no lost usage."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from control.store.usage_tables import (
    usage_blocks,
    usage_charges,
    usage_days,
    usage_hours,
    usage_minutes,
    usage_summaries,
)
from control.store.usage_tiers import Retention, UsageTiers
from control.usage_tiers import BLOCKS
from registry.clock import system_clock
from registry.store.database import Database
from tests.e2e.load import Load
from tests.e2e.models import AFFINE_REQUEST, affine
from tests.e2e.stack import RunningStack, eventually
from tollway.errors import NotReadyError

INFER = "/v2/models/affine/infer"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RunningStack]:
    with RunningStack(tmp_path / "data", "--workers", "2") as running:
        yield running


@pytest.fixture
def key(stack: RunningStack) -> str:
    with stack.client() as client:
        client.deploy(affine(), name="affine")
        secret = client.create_key(application="shop", model="affine", plan="unlimited").secret
    with stack.api(secret) as api:
        eventually(lambda: api.post(INFER, json=AFFINE_REQUEST).status_code == 200)
    both_engines_answer(stack)
    eventually(lambda: requests_counted(stack) == 1)
    return secret


def both_engines_answer(stack: RunningStack) -> None:
    def engines() -> int:
        answer = api.get("/v2/models/affine/stats")
        return len(answer.json()["model_stats"][0]["engines"]) if answer.is_success else 0

    with stack.api() as api:
        eventually(lambda: engines() == 2)


def requests_counted(stack: RunningStack) -> int:
    with stack.client() as client:
        rows = client.usage()
    return sum(row.requests for row in rows if row.model == "affine" and row.status == 200)


def are_counted(stack: RunningStack, requests: int) -> bool:
    """Whether so many are, or more. Nothing is known while control, which may have just been
    killed, is starting again."""
    try:
        return requests_counted(stack) >= requests
    except NotReadyError:
        return False


def test_killed_engine_is_not_noticed_while_another_lives(stack: RunningStack, key: str) -> None:
    with Load(stack, key, INFER, AFFINE_REQUEST) as load:
        for _ in range(3):
            seen = load.answered()
            eventually(lambda: load.answered() > seen + 50)
            stack.kill("engine affine/")
            eventually(lambda: len(stack.pids("engine affine/")) == 2)
            both_engines_answer(stack)
    assert load.broken == 0
    assert set(load.statuses) == {200}


def test_predictions_go_on_without_control_and_usage_arrives_afterwards(
    stack: RunningStack, key: str
) -> None:
    before = requests_counted(stack)
    with Load(stack, key, INFER, AFFINE_REQUEST) as load:
        for _ in range(2):
            dead = stack.kill("control")
            seen = load.answered()
            eventually(lambda: load.answered() > seen + 50)
            eventually(lambda: stack.pids("control") not in ([], [dead]))
    assert load.broken == 0
    assert set(load.statuses) == {200}
    eventually(lambda: are_counted(stack, before + load.answered()))
    assert requests_counted(stack) == before + load.answered()


def test_killed_gateway_loses_no_acknowledged_request(stack: RunningStack, key: str) -> None:
    before = requests_counted(stack)
    with Load(stack, key, INFER, AFFINE_REQUEST) as load:
        for _ in range(3):
            seen = load.answered()
            eventually(lambda: load.answered() > seen + 50)
            dead = stack.kill("gateway")
            eventually(lambda: stack.pids("gateway") not in ([], [dead]))
        seen = load.answered()
        eventually(lambda: load.answered() > seen + 50)
    with stack.api() as api:
        eventually(lambda: api.get("/readyz").status_code == 200)
    eventually(lambda: are_counted(stack, before + load.answered()))
    # A request whose record was written may have lost its answer with the gateway: at most those.
    assert requests_counted(stack) - before - load.answered() <= load.broken


SEEDS = (1, 2, 3)


def test_every_tier_counts_what_was_acknowledged_when_gateway_and_control_die_at_random(
    stack: RunningStack, key: str
) -> None:
    """Each acknowledged prediction is in the log once and in every tier once."""
    acknowledged, broken = requests_counted(stack), 0
    for seed in SEEDS:
        dice = random.Random(seed)
        with Load(stack, key, INFER, AFFINE_REQUEST) as load:
            for _ in range(3):
                victim = dice.choice(["gateway", "control"])
                seen, pause = load.answered(), dice.randrange(20, 150)
                eventually(lambda: load.answered() > seen + pause)
                dead = stack.kill(victim)
                eventually(lambda: stack.pids(victim) not in ([], [dead]))
            seen = load.answered()
            eventually(lambda: load.answered() > seen + 20)
        assert len(load.acknowledged) == load.answered()
        acknowledged += load.answered()
        broken += load.broken
        with stack.api() as api:
            eventually(lambda: api.get("/readyz").status_code == 200)
        eventually(lambda: are_counted(stack, acknowledged))
        assert requests_counted(stack) - acknowledged <= broken, f"seed {seed}"
    assert stack.stop() == 0
    counted = counted_in_every_tier(f"sqlite:///{stack.data / 'control' / 'tollway.db'}")
    assert 0 <= counted - acknowledged <= broken


def test_control_that_dies_while_it_takes_usage_in_counts_it_once_on_postgresql(
    tmp_path: Path, postgres_url: str
) -> None:
    """It is killed at moments between and within its transactions, which nobody chooses."""
    settings = {"TOLLWAY_DATABASE_URL": postgres_url, "TOLLWAY_USAGE_SHIP_INTERVAL_MS": "10"}
    with RunningStack(tmp_path / "data", settings=settings) as stack:
        with stack.client() as client:
            client.deploy(affine(), name="affine")
            key = client.create_key(application="shop", model="affine", plan="unlimited").secret
        with stack.api(key) as api:
            eventually(lambda: api.post(INFER, json=AFFINE_REQUEST).status_code == 200)
        eventually(lambda: requests_counted(stack) == 1)
        dice = random.Random(4)
        with Load(stack, key, INFER, AFFINE_REQUEST) as load:
            for _ in range(3):
                seen, pause = load.answered(), dice.randrange(20, 150)
                eventually(lambda: load.answered() > seen + pause)
                dead = stack.kill("control")
                eventually(lambda: stack.pids("control") not in ([], [dead]))
        assert set(load.statuses) == {200}
        assert load.broken == 0
        acknowledged = 1 + load.answered()
        eventually(lambda: are_counted(stack, acknowledged))
        assert stack.stop() == 0
    assert counted_in_every_tier(postgres_url) == acknowledged


def counted_in_every_tier(url: str) -> int:
    """Requests of status 200 in the database, which every tier has to agree on."""
    database = Database(url)
    # Long after: everything has settled, so all of it is folded.
    tiers = UsageTiers(database, lambda: system_clock() + 86_400_000, Retention(99, 99, 99))
    tiers.fold()
    summary, block = usage_summaries.c, usage_blocks.c
    with database.read() as connection:
        counted = {
            table.name: connection.execute(
                sa.select(sa.func.sum(table.c.requests)).where(
                    table.c.model == "affine", table.c.status == 200
                )
            ).scalar_one()
            for table in (usage_minutes, usage_hours, usage_days)
        }
        totals = connection.execute(
            sa.select(summary.cube, summary.grain, sa.func.sum(summary.requests)).group_by(
                summary.cube, summary.grain
            )
        ).all()
        blocks = connection.execute(
            sa.select(block.grain, sa.func.sum(block.requests))
            .where(block.model == "affine", block.status == 200)
            .group_by(block.grain)
        ).all()
        billed = connection.execute(sa.select(sa.func.sum(usage_charges.c.requests))).scalar_one()
    database.close()
    counted |= {f"blocks of {grain}": requests for grain, requests in blocks}
    assert len(counted) == 3 + len(BLOCKS)
    assert len(set(counted.values())) == 1, counted
    assert len({requests for _, _, requests in totals}) == 1, totals
    assert billed == counted["usage_minutes"]
    return int(billed)


def test_stop_answers_what_is_in_flight(stack: RunningStack, key: str) -> None:
    before = requests_counted(stack)
    with Load(stack, key, INFER, AFFINE_REQUEST) as load:
        eventually(lambda: load.answered() > 100)
        assert stack.stop() == 0
    answered = load.answered()
    assert answered > 100
    assert set(load.statuses) <= {200, 503}
    assert stack.pids_gone()
    # A client may write on a connection at the moment at which it is closed: that request reached
    # nobody. What did reach the gateway is in its usage log, and every one of those was answered.
    stack.start()
    eventually(lambda: are_counted(stack, before + answered))
    assert requests_counted(stack) == before + answered


def test_killed_supervisor_takes_everything_with_it(stack: RunningStack, key: str) -> None:
    assert stack.process is not None
    remembered = stack.all_pids()
    assert len(remembered) >= 6
    stack.process.kill()
    stack.process.wait(10)
    eventually(lambda: stack.pids_gone(remembered))
