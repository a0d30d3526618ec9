"""Evaluating a version by browser: the form, what runs, how it ends, and who may."""

import html

import httpx
import pytest

from control.settings import ControlSettings
from tests.control.evaluations.running import CSV, Played, upload
from tests.control.portal.conftest import Visiting
from tests.control.portal.publishing_world import HOSTILE
from tests.control.portal.test_publish import RISK, publisher, send
from tests.control.running import Control

AT = f"{RISK}/versions/2"
KEPT = b'{"event": "kept", "digest": "sha256:e"}'


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    """A gateway is known, and one evaluation runs at once."""
    told = {"gateway_url": "http://gateway:1", "evaluations_max": 1}
    return settings.model_copy(update=told)


async def begin(visitor: httpx.AsyncClient, **form: str) -> httpx.Response:
    """Send the form, with pasted lines where nothing else is said."""
    given = {"target": "risk", "rows_name": "spring", "importance": "on", "rows": CSV.decode()}
    return await send(visitor, f"{AT}/evaluate", **{**given, **form})


async def test_the_form_tells_the_columns_and_escapes_them(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    page = await visitor.get(f"{AT}/evaluate")
    assert page.status_code == 200
    assert "<code>&lt;b&gt;debt&lt;/b&gt;</code>" in page.text
    columns = page.text.partition('data-columns="')[2].partition('"')[0]
    assert html.unescape(columns) == '["age", "income", "\\u003cb\\u003edebt\\u003c/b\\u003e"]'
    assert f'href="{AT}/evaluate"' in (await visitor.get(AT)).text


async def test_pasted_rows_are_evaluated_and_the_page_leads_to_the_evidence(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    played = Played(control)
    begun = await begin(visitor, segments='age<30\ncity=="a,b"\n')
    assert begun.status_code == 303, begun.text
    where = begun.headers["location"]
    running = await visitor.get(where)
    assert "Reading the rows" in running.text
    assert f'sse-connect="{where}/events" sse-close="ended"' in running.text
    assert 'On spring, begun <time datetime="' in running.text
    assert "Watch it" in (await visitor.get(AT)).text
    await played.end(KEPT)
    assert played.rows == [CSV]
    assert {"--segments=age<30", '--segments=city=="a,b"', "--no-latency"} <= set(
        played.arguments[0]
    )
    ended = await visitor.get(where)
    assert f'href="{AT}?evidence=sha256:e#evidence"' in ended.text
    events = await visitor.get(f"{where}/events")
    assert events.text.index("event: steps") < events.text.index("event: ended")
    assert "The evidence is kept." in events.text


async def test_a_file_that_a_script_brought_is_evaluated(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    played = Played(control)
    secret = visitor.cookies["tollway_session"]
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(control.app),
        base_url="http://control",
        headers={"Authorization": f"Bearer {secret}"},
    ) as own:
        id = await upload(own)
    assert (await begin(visitor, rows="", upload=id)).status_code == 303
    await played.end(KEPT)
    assert played.environments[0]["TOLLWAY_TOKEN"] == secret


async def test_what_is_wrong_is_said_beside_its_field_with_what_was_typed(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    played = Played(control)
    empty = await begin(visitor, rows="")
    assert empty.status_code == 422
    assert 'id="rows-error">choose a CSV file' in empty.text
    unnamed = await begin(visitor, target="", segments=HOSTILE)
    assert unnamed.status_code == 422
    assert 'id="field-target-error"' in unnamed.text
    assert (
        html.escape(HOSTILE, quote=True).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
        in unnamed.text
    )
    staged = control.settings.own_dir / "staging" / "uploads"
    assert list(staged.iterdir()) == []  # nothing of what was refused waits there

    begun = await begin(visitor, target="rixk", segments="age<30")
    line = b'{"event": "error", "kind": "X", "message": "no column <rixk>", "about": "target"}'
    await played.end(line)
    where = begun.headers["location"]
    failed = await visitor.get(where)
    assert "no column &lt;rixk&gt;" in failed.text
    id = where.rpartition("/")[2]
    again = await visitor.get(f"{AT}/evaluate?again={id}")
    assert again.status_code == 200
    assert 'id="field-target-error">no column &lt;rixk&gt;<' in again.text
    assert 'value="rixk"' in again.text
    assert "age&lt;30</textarea>" in again.text


async def test_one_is_cancelled_and_another_that_is_too_many_is_told(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    played = Played(control)
    where = (await begin(visitor)).headers["location"]
    await played.said(b"")
    busy = await begin(visitor)
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "30")
    assert "as many evaluations run now as may (1)" in busy.text
    assert (await send(visitor, f"{where}/cancel")).status_code == 303
    assert "Cancelled." in (await visitor.get(where)).text


async def test_one_that_is_not_known_any_more_is_told_so(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    gone = await visitor.get(f"{AT}/evaluations/{'0' * 32}")
    assert gone.status_code == 404
    assert "This evaluation is not known any more." in gone.text
    events = await visitor.get(f"{AT}/evaluations/{'0' * 32}/events")
    assert "event: ended" in events.text
    assert (await visitor.get(f"{AT}/evaluate?again={'0' * 32}")).status_code == 200


async def test_where_none_can_run_the_page_says_how_else(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    control.services.evaluations._library = None
    page = (await visitor.get(f"{AT}/evaluate")).text
    assert "the client library is not installed where control runs" in page
    assert "client.evaluate(" in page
    assert 'name="target"' not in page


async def test_auditors_watch_and_consumers_see_nothing(
    control: Control, visiting: Visiting
) -> None:
    visitor = await publisher(control, visiting)
    played = Played(control)
    where = (await begin(visitor)).headers["location"]
    auditor, consumer = await visiting("auditor"), await visiting("consumer")
    watched = await auditor.get(where)
    assert watched.status_code == 200
    assert f"{where}/cancel" not in watched.text
    assert (await auditor.get(f"{AT}/evaluate")).status_code == 403
    assert (await send(auditor, f"{where}/cancel")).status_code == 403
    for path in (where, f"{where}/events", f"{AT}/evaluate"):
        assert (await consumer.get(path)).status_code == 403
    assert (await send(consumer, f"{AT}/evaluate", page="/portal")).status_code == 403
    await played.end(KEPT)
