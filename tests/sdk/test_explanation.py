"""Explanations as Python and a terminal show them."""

import numpy as np
import pytest

import tollway
from tollway.cli import explain as command
from tollway.explanation import Explanation, _rows
from tollway.signatures import Signature


def explanation(**changes: object) -> Explanation:
    """Two rows of three columns, of one value."""
    fields: dict[str, object] = {
        "columns": ["age", "[b]city", "bmi"],
        "contributions": np.array([[1.0, -2.0, 0.5], [0.0, 4.0, -1.0]]),
        "base_values": np.array([10.0, 10.0]),
        "predictions": np.array([9.5, 13.0]),
        "classes": None,
        "additivity_errors": np.zeros(2),
        "output": "prediction",
        "space": "output",
        "method": "permutation",
        "evaluations": 100,
        "version": 3,
        **changes,
    }
    return Explanation(**fields)  # type: ignore[arg-type]


OF_CLASSES = explanation(
    contributions=np.arange(12.0).reshape(2, 2, 3),
    base_values=np.ones((2, 2)),
    predictions=np.ones((2, 2)),
    classes=["no", "yes"],
)


def test_a_frame_has_the_rows_and_columns() -> None:
    frame = explanation().frame()
    assert frame.index.name == "row"
    assert frame.loc[1].to_dict() == {"age": 0.0, "[b]city": 4.0, "bmi": -1.0}
    assert len(explanation()) == 2


def test_a_frame_of_classes_has_a_line_for_each() -> None:
    frame = OF_CLASSES.frame()
    assert frame.loc[(1, "no")].tolist() == [6.0, 7.0, 8.0]
    predicted = explanation(classes=["yes", "no"]).frame()
    assert predicted.index.tolist() == [(0, "yes"), (1, "no")]


def test_a_terminal_shows_bars_the_largest_first_and_what_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    command._draw(explanation(), 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "prediction of version 3, in output, by permutation"
    assert lines[1].strip() == "row 0: 9.5 = 10 and these"
    cells = [line for line in lines if "│" in line]
    assert "[b]city" in cells[0], "names are not read as markup"
    assert "-2" in cells[0]
    assert "█" * command.BAR in cells[0]
    assert "1 others" in "\n".join(cells)


def test_the_largest_lines_come_first_for_pipes() -> None:
    lines = command._lines(OF_CLASSES, 1)
    assert lines == [
        (0, "no", "bmi", 2.0),
        (0, "yes", "bmi", 5.0),
        (1, "no", "bmi", 8.0),
        (1, "yes", "bmi", 11.0),
    ]


def test_a_version_without_columns_cannot_be_explained() -> None:

    bare = Signature(model="m", number=1, task="regression", inputs=[], outputs=("prediction",))
    with pytest.raises(tollway.InvalidRequestError, match="has no columns to explain"):
        _rows(bare, {})
