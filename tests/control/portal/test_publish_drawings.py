"""Where measures are drawn."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from control.portal.publish_drawings import Axis, common_axis, draw_importance, draw_metrics
from control.portal.publish_usage import hourly
from control.usage_resources import UsageItem, UsagePage
from protocol.evidence import Importance, Measured

numbers = st.floats(-1e9, 1e9)


@st.composite
def measures(draw: st.DrawFn) -> Measured:
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    return Measured(value=value, low=low, high=high)


@given(st.dictionaries(st.sampled_from(["r2", "roc_auc", "rmse", "mine"]), measures(), min_size=1))
def test_intervals_lie_within_the_drawing_and_around_their_value(
    metrics: dict[str, Measured],
) -> None:
    main = next(iter(metrics))
    drawn = draw_metrics(metrics, main)
    assert drawn[0].name == main
    for one in drawn:
        assert 0 <= one.begin <= one.at <= one.end <= 100


@given(st.lists(measures(), min_size=1), st.sampled_from(["r2", "rmse", "mine"]))
def test_a_common_axis_keeps_the_order_of_values(found: list[Measured], metric: str) -> None:
    axis = common_axis(found, metric)
    values = sorted(one.value for one in found)
    assert sorted(axis.place(one.value) for one in found) == [axis.place(v) for v in values]


def test_shares_are_drawn_on_one_axis_and_errors_on_their_own() -> None:
    found = draw_metrics(
        {
            "roc_auc": Measured(value=0.9),
            "accuracy": Measured(value=0.8),
            "rmse": Measured(value=12.0),
        },
        "roc_auc",
    )
    places = {one.name: one.at for one in found}
    assert places["accuracy"] < places["roc_auc"] < 100
    assert places["rmse"] == round(100 / 1.15, 2)


def test_columns_that_hurt_are_drawn_to_the_left_of_nothing() -> None:
    found = draw_importance(
        [
            Importance(column="a", mean=-0.1, deviation=0.0),
            Importance(column="b", mean=0.3, deviation=0.1),
        ]
    )
    assert [one.column for one in found] == ["b", "a"]
    assert found[1].begin + found[1].width == found[1].zero == found[0].begin == 20.0


def test_an_axis_without_length_places_everything_in_its_middle() -> None:
    assert Axis(1.0, 1.0).place(5.0) == 50.0


def test_the_last_day_has_every_hour_also_those_without_a_call() -> None:
    now = 1_790_000_000
    this_hour = now // 3600 * 3600

    def calls(hours_ago: int, version: int, requests: int) -> UsageItem:
        moment = datetime.fromtimestamp(this_hour - 3600 * hours_ago, UTC)
        return UsageItem(
            time=moment.isoformat(), version=version, requests=requests, rows=0, errors=0,
            p50_ms=None, p99_ms=None, compute_ms=0, queue_ms=0, bytes_in=0, bytes_out=0,
        )  # fmt: skip

    found = [calls(0, 1, 3), calls(5, 2, 4), calls(24, 1, 5), calls(25, 1, 99)]
    drawn = hourly(UsagePage(items=found, next=None, resolution="hour"), now * 1000)
    assert drawn is not None
    assert drawn["x"] == [this_hour - 3600 * ago for ago in range(24, -1, -1)]
    first, second = ([0] * 25, [0] * 25)
    first[24], first[0], second[19] = 3, 5, 4
    assert drawn["series"] == [{"label": "v1", "values": first}, {"label": "v2", "values": second}]
    assert hourly(UsagePage(items=[], next=None, resolution="hour"), now * 1000) is None
