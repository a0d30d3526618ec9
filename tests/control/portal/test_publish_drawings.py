"""Where measures are drawn."""

from hypothesis import given
from hypothesis import strategies as st

from control.portal.publish_drawings import Axis, common_axis, draw_importance, draw_metrics
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
