"""Routes of a running stack change under load: no answer fails, and each is of the version that it
names. ``python -m benchmarks.route_changes`` does the same at length."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.route_changes.changes import Changes
from benchmarks.route_changes.model import NAME, answering
from benchmarks.route_changes.traffic import Traffic
from protocol.buckets import bucket
from tests.e2e.models import many_types
from tests.e2e.stack import RunningStack, eventually
from tollway import ConflictError

INFER = f"/v2/models/{NAME}/infer"
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RunningStack]:
    with RunningStack(tmp_path / "data") as running:
        yield running


def test_no_answer_fails_or_is_of_another_version_than_it_names(stack: RunningStack) -> None:
    with stack.client() as client, stack.api() as api:
        client.deploy(answering(1), name=NAME, progress=False)
        keys = [
            client.create_key(application=name, model=NAME, plan="unlimited").secret
            for name in ("one", "two")
        ]
        with Traffic(int(stack.url.rpartition(":")[2]), keys, 8) as traffic:
            changes = Changes(client, api, traffic, "one")
            changes.run(20)  # the last is a deployment that unloads the oldest version
    assert traffic.first_failure == ""
    assert (traffic.failed, traffic.misversioned) == (0, 0)
    assert traffic.requests > 100
    assert changes.not_followed == 0
    assert changes.made["unload"] == 1


def test_a_version_lives_from_canary_over_promotion_to_rollback(stack: RunningStack) -> None:
    """Over the SDK, with the calls of two applications: one in the canary's share, one not."""
    ordered = sorted((f"app-{n}" for n in range(20)), key=lambda name: bucket(NAME, name))
    first, last = ordered[0], ordered[-1]
    percent = (bucket(NAME, first) + 1) / 10
    with stack.client() as client:
        for number in (1, 2):
            client.deploy(answering(number), name=NAME, stage=number > 1, progress=False)
        keys = {
            name: client.create_key(application=name, model=NAME, plan="unlimited").secret
            for name in (first, last)
        }

        def answers(name: str) -> tuple[int, str, float]:
            with stack.api(keys[name]) as api:
                answer = api.post(INFER, json=BODY)
            assert answer.status_code == 200, answer.text
            headers = answer.headers
            data = answer.json()["outputs"][0]["data"][0]
            return int(headers["Tollway-Version"]), headers["Tollway-Variant"], data

        assert client.version(NAME, 2).state == "validated"
        client.canary(NAME, 2, percent)
        assert client.version(NAME, 2).state == "published"
        eventually(lambda: answers(first) == (2, "canary", 2.0))
        assert answers(last) == (1, "stable", 1.0)

        client.pin(first, NAME, 1, "not yet")
        eventually(lambda: answers(first) == (1, "pinned", 1.0))
        with pytest.raises(ConflictError, match=f"'{first}' is pinned to it"):
            client.retire(NAME, 1)
        client.unpin(first, NAME)
        eventually(lambda: answers(first) == (2, "canary", 2.0))

        client.promote(NAME, 2)
        assert client.rollout(NAME).canary is None
        assert answers(last) == (2, "stable", 2.0)
        assert client.rollback(NAME, "worse").number == 1
        assert answers(first) == (1, "stable", 1.0)

        with pytest.raises(ConflictError, match="input 'x' is removed"):
            client.deploy(many_types(), name=NAME, progress=False)
        assert answers(last) == (1, "stable", 1.0)
