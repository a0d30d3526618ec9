"""``tollway evaluate`` with a CSV file: what programs are told while it runs, and how it ends."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

import tollway
from tests.sdk.evaluation.test_evaluator import ROWS, Server, X, Y
from tests.sdk.fake_server import TOKEN
from tollway import cli
from tollway.cli import evaluation as command
from tollway.progress import JsonLines

CSV = "a,b,c,site,truth\n" + "".join(
    f"{a},{b},{c},{'north' if place % 2 else 'south'},{y}\n"
    for place, ((a, b, c), y) in enumerate(zip(X.tolist(), Y.tolist(), strict=True))
)
QUICK = ("--no-latency", "--no-importance", "--resamples", "50")


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    events: list[dict[str, Any]]
    """Lines of JSON on stderr."""


Run = Callable[..., Done]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def run(server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, with this text on stdin."""

    def client() -> tollway.Client:
        return tollway.Client("http://server", TOKEN, transport=httpx.MockTransport(server.handle))

    monkeypatch.setattr(command, "Client", client)

    def call(*arguments: str, stdin: str = CSV) -> Done:
        monkeypatch.setattr("sys.argv", ["tollway", "evaluate", "m", "1", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        lines = said.err.splitlines()
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return Done(int(ended.value.code or 0), said.out, events)

    return call


def test_a_file_is_measured_without_a_data_frame_library(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    file = tmp_path / "rows.csv"
    file.write_text(CSV)
    done = run(str(file), "--target", "truth", "--segments", "site", *QUICK, "--json")
    assert done.code == 0
    made = json.loads(done.out)
    assert made["rows"] == ROWS
    assert made["metrics"]["accuracy"]["value"] == 1.0
    assert {one["segment"] for one in made["segments"]} == {"site==north", "site==south"}


def test_programs_are_told_steps_rows_and_what_was_kept(run: Run, server: Server) -> None:
    done = run("-", "--target", "truth", *QUICK, "--progress", "json", "--batch-rows", "10")
    assert done.code == 0
    steps = [one["message"] for one in done.events if one["event"] == "step"]
    assert steps[0] == f"scoring {ROWS} rows"
    assert {"event": "total", "rows": ROWS} in done.events
    assert {"event": "done", "rows": ROWS} in done.events
    assert done.events[-1] == {"event": "kept", "digest": "sha256:e"}
    assert server.kept[0]["evidence"]["rows"] == ROWS


@pytest.mark.parametrize(
    ("arguments", "stdin", "about", "message"),
    [
        (("--target", "y"), CSV, "target", "no column 'y'"),
        (("--target", "truth"), "a,b,truth\n1,2,yes\n", "rows", "no column 'c'"),
        (("--target", "site"), CSV, "target", "no truth is one of the model's classes"),
        (("--target", "truth", "--segments", "a<"), CSV, "segments", "character 3"),
        (("--target", "truth", "--segments", "age<3"), CSV, "segments", "no column 'age'"),
        (("--target", "truth", "--metric", "rmse"), CSV, "metrics", "no metric 'rmse'"),
        (("--target", "truth", "--max-rows", "39"), CSV, "rows", "more than 39 rows"),
    ],
)
def test_a_refusal_says_what_it_is_about(
    run: Run, arguments: tuple[str, ...], stdin: str, about: str, message: str
) -> None:
    done = run("-", *arguments, *QUICK, "--progress", "json", stdin=stdin)
    assert done.code == 1
    said = done.events[-1]
    assert (said["event"], said["kind"], said["about"]) == ("error", "InvalidRequestError", about)
    assert message in said["message"]


def test_counts_are_written_a_few_times_a_second_and_at_their_end() -> None:
    now = 0.0
    out = io.StringIO()
    lines = JsonLines(out, lambda: now)
    lines.counting(100)
    for done in range(1, 101):
        now = done / 100
        lines.counted(done)
    counts = [json.loads(line) for line in out.getvalue().splitlines()[1:]]
    assert 8 <= len(counts) <= 12
    assert counts[-1] == {"event": "done", "rows": 100}
