"""The catalogue and a model's page: what each reader finds there, and what it costs."""

import re
from datetime import datetime, timedelta
from typing import Final

import httpx
import pytest

from control.settings import ControlSettings
from protocol.manifest import Column
from tests.control.portal.conftest import Visiting
from tests.control.portal.shelf import publish, requirements
from tests.control.portal.test_templates import HOSTILE
from tests.control.running import Control

RFC3339: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
"""As all times of the API are written."""


@pytest.fixture
def settings(settings: ControlSettings) -> ControlSettings:
    """The catalogue is read without a login."""
    return settings.model_copy(update={"public_catalogue": True})


def cards(answer: httpx.Response) -> list[str]:
    return re.findall(r'href="/portal/models/([\w-]+)"', answer.text)


async def test_the_front_page_filters_by_what_is_predicted_and_what_is_measured(
    control: Control,
) -> None:
    publish(control, "churn", accuracy=0.9)
    publish(control, "price", labels=(), task="regression")
    publish(control, "old", state="deprecated")
    page = control.anonymous
    assert cards(await page.get("/portal")) == ["churn", "old", "price"]
    assert cards(await page.get("/portal?task=regression")) == ["price"]
    assert cards(await page.get("/portal?state=deprecated")) == ["old"]
    assert cards(await page.get("/portal?evaluated=1")) == ["churn"]
    assert cards(await page.get("/portal?q=YES")) == ["churn", "old"]
    assert cards(await page.get("/portal?q=income+price")) == ["price"]
    assert "Nothing matches" in (await page.get("/portal?q=nobody")).text
    assert "Classes (2)" in (await page.get("/portal?task=regression")).text


async def test_the_list_and_its_filters_are_answered_to_htmx(control: Control) -> None:
    publish(control, "churn")
    for path in ("/portal?q=churn", "/portal?q=none", "/portal?view=list"):
        answer = await control.anonymous.get(path, headers={"HX-Request": "true"})
        assert answer.status_code == 200, path
        assert "<html" not in answer.text
        assert answer.text.lstrip().startswith('<div class="stack-s" id="catalogue">')
        assert 'id="filters" hx-swap-oob="true"' in answer.text


async def test_a_filter_that_does_not_exist_is_let_go_of(control: Control) -> None:
    publish(control, "churn")
    answer = await control.anonymous.get("/portal?q=churn&task=magic&p99=soon")
    assert answer.status_code == 200
    assert cards(answer) == ["churn"]


async def test_a_visitor_sees_the_way_in_and_nobodys_login(control: Control) -> None:
    publish(control, "churn")
    for path in ("/portal", "/portal/models/churn", "/portal/models/churn/try"):
        answer = await control.anonymous.get(path)
        assert answer.status_code == 200
        assert "/portal/login" in answer.text
        assert ">admin<" not in answer.text
    assert "Make an account" in (await control.anonymous.get("/portal")).text


async def test_a_public_page_that_was_made_for_somebody_is_told_of_their_logout(
    control: Control,
) -> None:
    publish(control, "churn")
    address = "/portal/models/churn/latency/events"
    once = {"accept": "text/event-stream", "prefer": "wait=0"}
    nobodys = await control.anonymous.get(address, headers=once)
    assert "event: data\n" in nobodys.text
    assert "signed-out" not in nobodys.text
    theirs = await control.anonymous.get(address, headers=once | {"tollway-signed-in": "1"})
    assert theirs.text == "event: signed-out\ndata: The session has ended.\n\n"


async def test_a_page_calls_the_api_as_often_for_one_model_as_for_many(
    control: Control, visiting: Visiting, calls: list[str]
) -> None:
    client = await visiting("consumer")
    counts: list[tuple[int, ...]] = []
    for number in (1, 30):
        for index in range(number):
            publish(control, f"m{number}-{index}", accuracy=0.5)
        found = []
        for path in ("/portal", f"/portal/models/m{number}-0", f"/portal/models/m{number}-0/try"):
            calls.clear()
            assert (await client.get(path)).status_code == 200
            found.append(len(calls))
        counts.append(tuple(found))
    assert counts[0] == counts[1]
    assert max(counts[0]) <= 6


async def test_pages_of_the_list_follow_one_another_in_every_order(control: Control) -> None:
    for index in range(30):
        publish(control, f"m{index:02}")
    for order in ("", "&sort=newest", "&sort=latency", "&sort=calls"):
        first = await control.anonymous.get(f"/portal?view=list{order}")
        following = re.search(r'href="([^"]+after=[^"]+)"', first.text)
        assert following is not None
        second = await control.anonymous.get(following[1].replace("&amp;", "&"))
        assert sorted(cards(first) + cards(second)) == [f"m{index:02}" for index in range(30)]


async def test_a_models_page_says_what_it_has_to_fulfil_in_words(control: Control) -> None:
    publish(control, "credit", accuracy=0.93, title="Credit risk")
    await control.admin.put("/api/v1/models/credit/requirements", json=requirements())
    text = (await control.anonymous.get("/portal/models/credit")).text
    assert "The lower end of the 95 % confidence interval of accuracy is at least 0.9." in text
    assert "recall where age is below 30" in text
    assert "no postal code among the inputs" in text
    assert "18 to 120" in text
    assert "Credit team" in text
    assert "0.92 to 1" in text
    assert "admin" not in text.partition("<main")[2]


async def test_versions_show_what_has_changed_and_how_one_ends(control: Control) -> None:
    publish(control, "credit")
    publish(control, "credit", 2, labels=("no", "yes", "perhaps"))
    body = {"successor": 2, "note": "Move on.", "sunset": "2027-06-01T00:00:00Z"}
    await control.admin.put("/api/v1/models/credit/versions/1/deprecation", json=body)
    text = (await control.anonymous.get("/portal/models/credit")).text
    assert "knows new class &#39;perhaps&#39;" in text
    second = await control.anonymous.get("/portal/models/credit?version=2")
    assert "which a call has to name" in second.text
    assert "/v1/models/credit/versions/2:predict" in second.text
    assert (await control.anonymous.get("/portal/models/credit?version=9")).status_code == 404


async def test_samples_hold_the_prefix_of_the_readers_own_key_and_no_other(
    control: Control, visiting: Visiting
) -> None:
    publish(control, "credit")
    client = await visiting("consumer")
    secrets = []
    for application, consumer in (("mine", "robin-consumer"), ("theirs", "other")):
        await control.admin.put(f"/api/v1/consumers/{consumer}", json={})
        made = await control.admin.put(
            f"/api/v1/applications/{application}", json={"consumer": consumer}
        )
        assert made.is_success, made.text
        await control.admin.put(
            f"/api/v1/subscriptions/{application}/credit", json={"plan": "free"}
        )
        key = await control.admin.post("/api/v1/keys", json={"application": application})
        secrets.append(key.json())
    for path in ("/portal/models/credit", "/portal/models/credit/try"):
        text = (await client.get(path)).text
        assert "you are subscribed" in text
        assert secrets[0]["prefix"] in text
        assert secrets[1]["prefix"] not in text
        assert all(one["secret"] not in text for one in secrets)


async def test_the_openapi_document_of_a_version_is_downloaded(control: Control) -> None:
    publish(control, "credit")
    answer = await control.anonymous.get("/portal/models/credit/openapi.json?version=1")
    assert answer.headers["Content-Disposition"].endswith('"credit-v1.openapi.json"')
    assert "/v1/models/credit/versions/1:predict" in answer.json()["paths"]


async def test_a_model_of_many_columns_is_tried_with_json(control: Control) -> None:
    many = tuple(
        Column(name=f"c{index}", type="float", input="x", index=index, minimum=0.0, maximum=1.0)
        for index in range(1000)
    )
    publish(control, "wide", columns=many)
    answer = await control.anonymous.get("/portal/models/wide")
    assert answer.status_code == 200
    assert len(answer.content) < 170_000
    assert "try-row" not in answer.text
    assert "the first 200 of them" in answer.text


async def test_hostile_columns_and_labels_are_escaped(control: Control) -> None:
    columns = (Column(name=HOSTILE, type="string", input="r", categories=(HOSTILE, "'\\")),)
    publish(control, "hostile", columns=columns, labels=(HOSTILE, "b"), title=HOSTILE)
    for path in ("/portal", "/portal?view=list", "/portal/models/hostile",
                 "/portal/models/hostile/try", "/portal/reference/models/hostile"):  # fmt: skip
        text = (await control.anonymous.get(path)).text
        assert "<script>alert" not in text, path
        assert "alert" in text, path


async def test_a_model_that_is_not_published_is_shown_to_who_manages_it_alone(
    control: Control, visiting: Visiting
) -> None:
    await control.admin.put("/api/v1/models/draft", json={"title": "Draft"})
    assert (await (await visiting("consumer")).get("/portal/models/draft")).status_code == 404
    text = (await (await visiting("admin")).get("/portal/models/draft")).text
    assert "Nobody can call it yet" in text


async def test_latency_is_drawn_with_gaps_and_refused_for_what_is_not_there(
    control: Control,
) -> None:
    publish(control, "credit")
    empty = await control.anonymous.get("/portal/models/credit/latency.json")
    assert empty.json() == {"x": [], "series": []}
    asked = await control.anonymous.get("/api/v1/catalogue/credit/latency", params={"span": "hour"})
    ends = [asked.json()[end] for end in ("start", "end")]
    assert all(re.fullmatch(RFC3339, end) for end in ends)
    start, end = map(datetime.fromisoformat, ends)
    assert end - start == timedelta(hours=1)
    assert (await control.anonymous.get("/portal/models/none/latency.json")).status_code == 404


@pytest.mark.parametrize("role", ["consumer", "sponsor", "auditor", None])
async def test_who_may_not_subscribe_is_not_led_there(
    role: str | None, control: Control, visiting: Visiting
) -> None:
    publish(control, "credit")
    client = control.anonymous if role is None else await visiting(role)
    may = (await client.get("/portal/subscribe?model=credit")).status_code != 403
    assert may == (role in ("consumer", None))
    for page in ("", "/try"):
        shown = await client.get(f"/portal/models/credit{page}")
        assert shown.status_code == 200
        assert ("/portal/subscribe" in shown.text) == may
