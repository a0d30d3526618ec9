"""Rows that ``tollway predict`` takes, as text and as JSON."""

import json
from pathlib import Path

import numpy as np
import pytest

import tollway
from tests.sdk.fake_server import FakeServer
from tests.sdk.running import Run

COLUMNS = [
    {"name": "age", "type": "integer", "input": "age"},
    {"name": "city", "type": "string", "input": "city"},
    {"name": "score", "type": "float", "input": "score"},
    {"name": "member", "type": "boolean", "input": "member"},
]


@pytest.fixture
def echo(monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> list[tuple[object, int | None]]:
    """A model of four typed columns; predictions record the rows that they were given."""
    seen: list[tuple[object, int | None]] = []
    server.add_version("m", {"columns": COLUMNS})
    server.move("m", "stable", 1)

    def predict(
        _self: object, _name: str, X: list[object], version: int | None = None
    ) -> np.ndarray:
        seen.append((X, version))
        return np.arange(len(X), dtype=float)

    monkeypatch.setattr(tollway.Client, "predict", predict)
    monkeypatch.setattr(
        tollway.Client, "predict_proba", lambda *_a, **_k: np.array([[0.25, np.nan]])
    )
    return seen


ROW = {"age": 7, "city": "01234", "score": 0.5, "member": True}


@pytest.mark.parametrize(
    "text",
    [
        "city,score,age,member,other\n01234,0.5,7,true,x\n",
        json.dumps([ROW]),
        json.dumps(ROW),
        json.dumps({"instances": [ROW]}),
    ],
)
def test_rows_from_stdin_have_the_types_of_the_models_columns(
    run: Run, echo: list[tuple[object, int | None]], text: str
) -> None:
    done = run("predict", "m", stdin=text)
    assert (done.code, done.out, done.err) == (0, "0.0\n", "")
    assert echo == [([ROW], None)]


def test_rows_by_position_and_missing_values(
    run: Run, echo: list[tuple[object, int | None]], tmp_path: Path
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("w,x,y,z\n7,,0.5,no\n8,b,,yes\n")
    assert run("predict", "m", str(file), "--version", "1", "--json").json == [0.0, 1.0]
    assert echo == [([[7, None, 0.5, False], [8, "b", None, True]], 1)]


def test_probabilities_are_a_line_per_row(run: Run, echo: list[object]) -> None:
    assert run("predict", "m", "--proba", stdin="[[1, 2, 3, 4]]").out == "0.25\t\n"
    assert run("predict", "m", "--proba", "--json", stdin="[[1]]").json == [[0.25, None]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "there are no rows in stdin"),
        ("age,city,score,member\nold,b,1,yes\n", "line 2, column 'age': 'old' is not of type int"),
        ("w,x,y,z\n1,2\n", "line 2 has 2 values, but 4 columns are expected"),
        ("[1, 2", "the rows are not JSON"),
    ],
)
def test_rows_that_cannot_be_read_name_the_place(
    run: Run, echo: list[object], text: str, reason: str
) -> None:
    done = run("predict", "m", stdin=text)
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert reason in done.err
