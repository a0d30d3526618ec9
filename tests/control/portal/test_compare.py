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
    assert "+0.1" in page.text
    assert "better" in page.text
    assert "<script>alert" not in page.text
    assert (await visitor.get(f"{RISK}/compare?a=1&b=1")).status_code == 422
    assert (await visitor.get(f"{RISK}/compare?a=1&b=9")).status_code == 404


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
