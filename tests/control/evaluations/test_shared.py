"""What one control process evaluates, the others see and may end: on both databases."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import httpx
import pytest
from sqlalchemy.exc import OperationalError

from control.app import create_app
from control.evaluations.resources import EvaluationRun
from control.settings import ControlSettings
from control.store.evaluation_runs import KEPT, LOST_MS
from tests.control.evaluations.running import Played, upload
from tests.control.portal.publishing_world import uninspected, version
from tests.control.running import Control, connect

AT = "/api/v1/models/risk/versions/1/evaluations"


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    """A gateway is known."""
    return settings.model_copy(update={"gateway_url": "http://gateway:1/"})


class Pair(NamedTuple):
    """Two control processes on one database: the one that evaluates, and another one's client."""

    here: Control
    played: Played
    there: httpx.AsyncClient


@pytest.fixture
async def pair(control: Control) -> AsyncIterator[Pair]:
    uninspected(control)
    assert (await control.admin.put("/api/v1/models/risk")).status_code == 201
    await version(control.admin, "risk")
    app = create_app(control.settings, clock=control.clock)
    token = control.settings.admin_token_path.read_text().strip()
    async with app.router.lifespan_context(app), connect(app, token) as there:
        yield Pair(control, Played(control), there)


async def begin(pair: Pair) -> str:
    """An evaluation that runs here. Its address."""
    body = {"upload": await upload(pair.here.admin), "target": "risk", "segments": ["age<30"]}
    begun = await pair.here.admin.post(AT, json=body)
    assert begun.status_code == 201, begun.text
    return str(begun.headers["location"])


async def test_progress_and_end_are_seen_by_the_other_process(pair: Pair) -> None:
    at = await begin(pair)
    seen = (await pair.there.get(at)).json()
    assert (seen["state"], seen["segments"]) == ("running", ["age<30"])
    await pair.played.said(b'{"event": "step", "message": "scoring 1 rows"}')
    await pair.here.services.evaluations.tell()
    assert (await pair.there.get(at)).json()["step"] == "scoring 1 rows"
    await pair.played.end(b'{"event": "kept", "digest": "sha256:e"}')
    await pair.here.services.evaluations.tell()
    ended = (await pair.there.get(at)).json()
    assert (ended["state"], ended["evidence"]) == ("kept", "sha256:e")
    assert ended == (await pair.here.admin.get(at)).json()
    second = (await pair.there.get(await begin(pair))).json()
    assert (await pair.there.get(AT)).json()["items"] == [second, ended]
    other = "/api/v1/models/risk/versions/1/evaluations/" + "0" * 32
    assert (await pair.there.get(other)).status_code == 404
    assert (await pair.there.delete(other)).status_code == 404


async def test_the_other_process_has_it_ended(pair: Pair) -> None:
    at = await begin(pair)
    await pair.played.said(b"")
    assert (await pair.there.delete(at)).status_code == 204
    await pair.here.services.evaluations.tell()
    for _ in range(2):  # what is told of its end stays
        await pair.here.services.evaluations.close()
        assert (await pair.there.get(at)).json()["state"] == "cancelled"
        assert (await pair.there.delete(at)).status_code == 204


async def test_one_whose_process_is_gone_is_told_as_such(pair: Pair) -> None:
    at = await begin(pair)
    pair.here.clock.advance(LOST_MS / 1000 + 1)
    lost = (await pair.there.get(at)).json()
    assert lost["state"] == "failed"
    assert "has stopped" in lost["failure"]["detail"]
    assert lost["ended_at"] == lost["started_at"]
    await pair.here.services.evaluations.tell()
    assert (await pair.there.get(at)).json()["state"] == "running", "it was but slow"


async def test_a_process_that_stops_tells_it(pair: Pair) -> None:
    at = await begin(pair)
    await pair.here.services.evaluations.close()
    assert (await pair.there.get(at)).json()["state"] == "cancelled"


async def test_an_end_that_cannot_be_told_now_is_told_later(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = await begin(pair)
    evaluations = pair.here.services.evaluations

    def away(_run: EvaluationRun) -> bool:
        raise OperationalError("UPDATE", {}, Exception("the database is away"))

    with monkeypatch.context() as patched:
        patched.setattr(evaluations._store, "tell", away)
        await pair.played.end(b'{"event": "kept", "digest": "sha256:e"}')
        await evaluations.tell()
        assert (await pair.here.admin.get(at)).json()["state"] == "kept"
    await evaluations.tell()
    assert (await pair.there.get(at)).json()["state"] == "kept"


async def test_of_those_that_have_ended_the_newest_are_remembered(pair: Pair) -> None:
    running = await begin(pair)
    store = pair.here.services.evaluations._store
    shown = EvaluationRun.model_validate((await pair.there.get(running)).json())
    ended = shown.model_copy(update={"state": "failed"})
    for number in range(KEPT + 2):
        store.begin(ended.model_copy(update={"id": f"{number:032x}"}))
    found = store.of("risk", 1)
    assert len(found) == KEPT + 1
    assert (found[0].id, found[-1].id) == (f"{KEPT + 1:032x}", shown.id), "what runs stays"
    assert store.get("risk", 1, f"{0:032x}") is None
    assert store.get("risk", 2, shown.id) is None
