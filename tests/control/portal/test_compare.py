"""Two versions side by side."""

from hypothesis import given

from control.portal.publish_compare import compare, difference_interval, differences
from protocol.evidence import Measured
from tests.control.portal.conftest import Visiting
from tests.control.portal.publishing_world import risk
from tests.control.portal.test_publish_drawings import measures
from tests.control.running import Control

RISK = "/portal/publish/models/risk"


async def test_differences_have_intervals_and_verdicts(
    control: Control, visiting: Visiting
) -> None:
    visitor = await visiting("publisher")
    await risk(control)
    page = await visitor.get(f"{RISK}/compare?a=1&b=2")
    assert page.status_code == 200, page.text
    assert "Compatible." in page.text
    assert "2 of 2 open" in page.text
    assert "no sponsor is named" in page.text
    assert "+0.1" in page.text
    assert "better" in page.text
    assert "<script>alert" not in page.text
    assert (await visitor.get(f"{RISK}/compare?a=1&b=1")).status_code == 422
    assert (await visitor.get(f"{RISK}/compare?a=1&b=9")).status_code == 404


async def test_the_gate_and_the_approval_are_told_apart_in_the_words_of_the_versions_page(
    control: Control, visiting: Visiting
) -> None:
    await visiting("sponsor")
    visitor = await visiting("publisher")
    await risk(control)
    agreed = {"criteria": ["r2 >= 0.85"], "sponsor": "robin-sponsor"}
    done = await control.admin.put("/api/v1/models/risk/requirements", json=agreed)
    assert done.is_success, done.text
    page = (await visitor.get(f"{RISK}/compare?a=1&b=2")).text
    words = ("all criteria met", "robin-sponsor has not decided")
    assert all(said in page for said in ("1 of 1 open", *words))
    assert "does not pass" not in page
    version = (await visitor.get(f"{RISK}/versions/2")).text
    assert all(said in version for said in words)


@given(measures(), measures())
def test_the_interval_of_a_difference_holds_it_and_turns_with_it(
    first: Measured, second: Measured
) -> None:
    value, low, high = difference_interval(first, second)
    assert low is not None
    assert high is not None
    assert low <= value <= high
    turned, turned_low, turned_high = difference_interval(second, first)
    assert (turned, turned_low, turned_high) == (-value, -high, -low)


def test_a_verdict_needs_an_interval_that_leaves_out_nothing() -> None:
    first = {"rmse": Measured(value=4.0, low=3.9, high=4.1)}
    [clear] = differences(first, {"rmse": Measured(value=3.0, low=2.9, high=3.1)}, "rmse")
    [unclear] = differences(first, {"rmse": Measured(value=3.9, low=3.7, high=4.1)}, "rmse")
    [unknown] = differences(first, {"rmse": Measured(value=3.0)}, "rmse")
    assert [clear.verdict, unclear.verdict, unknown.verdict] == ["better", "", ""]


def test_without_evidence_there_is_nothing_to_compare() -> None:
    found = compare(None, None)
    assert (found.metrics, found.same_rows) == ([], False)
