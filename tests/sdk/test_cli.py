"""The command ``tollway``: what it prints, where, and its exit codes."""

import io
import os
import pickle
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest

import tollway
from tests.sdk.fake_server import TOKEN, FakeServer
from tests.sdk.running import Run
from tollway import conversion, credentials
from tollway.conversion import Converted


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Conversion gives a graph at once; lists what it was given."""
    seen: list[tuple[Any, ...]] = []

    def convert(model: object, X: object = None, y: object = None, **_options: object) -> Converted:
        seen.append((model, X, y))
        return Converted(onnx_bytes=b"graph", task="unknown", inputs=[], outputs=[])

    monkeypatch.setattr(conversion, "convert", convert)
    return seen


def test_deploying_a_graph_says_where_it_answers(
    run: Run, tmp_path: Path, graph: list[object]
) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(b"graph")
    done = run("deploy", str(file), "--name", "m", "--metric", "auc=0.9")
    assert done.code == 0
    assert "http://server/v2/models/m/infer" in done.out
    assert run("deploy", str(file), "--name", "m", "--json").json["number"] == 2


def test_deploying_a_remote_model_says_where_it_is_and_where_it_answers(run: Run) -> None:
    command = ["deploy", "--remote", "https://triton.example", "--name", "m"]
    done = run(*command, "--remote-model", "there", "--remote-version", "3", "--stage")
    assert done.code == 0
    assert "https://triton.example, model there" in done.out
    assert "http://server/v2/models/m/versions/1/infer" in done.out
    assert run(*command, "--credential", "triton", "--json").json["number"] == 2


def test_a_pickle_is_loaded_only_when_it_is_trusted(
    run: Run, tmp_path: Path, graph: list[tuple[Any, ...]]
) -> None:
    file = tmp_path / "model.pkl"
    file.write_bytes(pickle.dumps({"a": "model"}))
    refused = run("deploy", str(file), "--name", "m")
    assert refused.code == 1
    assert "--trust-pickle" in refused.err
    assert run("deploy", str(file), "--name", "m", "--trust-pickle").code == 0
    assert graph[-1][0] == {"a": "model"}


def test_rows_for_parity_come_as_the_model_was_trained(
    run: Run, tmp_path: Path, graph: list[tuple[Any, ...]]
) -> None:
    model, rows = tmp_path / "model.pkl", tmp_path / "rows.csv"
    model.write_bytes(pickle.dumps({"a": "model"}))
    rows.write_text("a,b,answer\n1,2,yes\n3,4,no\n")
    command = ["deploy", str(model), "--name", "m", "--trust-pickle", "--data", str(rows)]
    assert run(*command, "--target", "answer").code == 0
    _, X, y = graph[-1]
    assert X.tolist() == [[1, 2], [3, 4]]
    assert y.tolist() == ["yes", "no"]
    assert "has no column 'nope'" in run(*command, "--target", "nope").err


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone.onnx", None, "there is no such file"),
        ("model.h5", b"", ".onnx, .joblib, .pkl and .pickle deploy"),
        ("model.pkl", b"not a pickle", "cannot be loaded"),
    ],
)
def test_a_file_that_cannot_deploy_fails_with_one_line(
    run: Run, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = run("deploy", str(tmp_path / name), "--name", "m", "--trust-pickle")
    assert done.code == 1
    assert done.err.startswith("tollway: ")
    assert done.err.count("\n") == 1
    assert reason in done.err


def test_a_refusal_is_one_line_and_exit_code_1(run: Run) -> None:
    done = run("versions", "m", "7")
    assert done.code == 1
    assert done.err == (
        "tollway: no such version - `tollway models` and `tollway versions MODEL` list what"
        " there is\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["deploy", "x.onnx"],
        ["deploy", "--name", "m"],
        ["deploy", "x.onnx", "--name", "m", "--remote", "https://triton.example"],
        ["deploy", "x.onnx", "--name", "m", "--credential", "triton"],
        ["deploy", "--name", "m", "--remote", "https://triton.example", "--rtol", "0.1"],
        ["versions", "m", "zero"],
        ["usage", "--by", "colour"],
        ["keys", "rotate", "k1"],
        ["keys", "rotate", "k1", "--overlap", "soon"],
        ["plans", "set", "gold", "--rate", "fast"],
        ["plans", "set", "gold", "--quota", "much"],
        ["plans", "set", "gold", "--price", "cheap"],
        ["plans", "set", "gold", "--max-rows", "-1"],
        ["subscriptions", "list", "--state", "odd"],
        ["subscriptions", "refuse", "shop", "m"],
        ["usage", "--step", "week"],
        ["usage", "--from", "yesterday"],
        ["deploy", "x.onnx", "--name", "m", "--metric", "auc"],
        ["canary", "m"],
        ["canary", "m", "2"],
        ["canary", "m", "2", "--percent", "1", "--end"],
        ["shadow", "m"],
        ["pins"],
        ["pins", "--model", "m", "--application", "shop"],
    ],
)
def test_a_wrong_command_is_exit_code_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).code == 2


def test_a_rollout_is_shown_and_changed(run: Run, server: FakeServer) -> None:
    for _ in (1, 2, 3):
        server.add_version("m", {})
    server.move("m", "stable", 1)
    server.move("m", "stable", 2)
    shown = run("canary", "m", "3", "--percent", "2.5", "--reason", "a try").out
    assert shown == run("rollout", "m").out
    assert [line.split(maxsplit=1) for line in shown.splitlines()] == [
        ["stable", "2"], ["canary", "3 (2.5 %)"], ["shadow", "-"], ["previous", "1"],
    ]  # fmt: skip
    assert run("canary", "m", "--end", "--json").json["canary"] is None
    assert run("shadow", "m", "3", "--json").json["shadow"] == [{"version": 3, "percent": 100.0}]
    assert run("shadow", "m", "--end", "--json").json["shadow"] == []
    assert run("rollback", "m", "--reason", "biased").out == "'stable' of m is version 1 again\n"
    assert server.reasons == ["a try", "", "", "", "biased"]


def test_pins_are_set_listed_and_removed(run: Run, server: FakeServer) -> None:
    server.add_version("m", {})
    assert run("pin", "shop", "m", "1").out == "shop is answered by m version 1\n"
    (listed,) = run("pins", "--application", "shop", "--json").json
    assert (listed["application"], listed["version"]) == ("shop", 1)
    assert "shop\tm\t1\tpublisher" in run("pins", "--model", "m").out
    assert run("unpin", "shop", "m", "--json").json["deleted"] is True
    assert run("unpin", "shop", "m").code == 1


def test_every_command_takes_json(run: Run, server: FakeServer) -> None:
    for number in (1, 2, 3):
        server.add_version("m", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}]})
        server.move("m", "stable", number)
    assert [model["name"] for model in run("models", "--json").json] == ["m"]
    assert [v["number"] for v in run("versions", "m", "--json").json] == [1, 2, 3]
    assert run("versions", "m", "1", "--json").json["number"] == 1
    assert run("rollback", "m", "--json").json["number"] == 2
    assert run("promote", "m", "3", "--json").json["number"] == 3
    assert run("unload", "m", "1", "--json").json["loaded"] is False
    assert run("load", "m", "1", "--json").json["loaded"] is True
    assert run("deprecate", "m", "1", "--json").json["state"] == "deprecated"
    assert run("retire", "m", "2", "--json").json["state"] == "retired"
    assert run("consumers", "create", "acme", "--json").json["name"] == "acme"
    assert [one["name"] for one in run("consumers", "--json").json] == ["acme"]
    assert run("consumers", "list", "--json").json == run("consumers", "--json").json
    assert run("consumers", "delete", "acme", "--json").json["deleted"] is True
    assert run("apps", "create", "shop", "--json").json["name"] == "shop"
    assert run("apps", "subscribe", "shop", "m", "--json").json["plan"] == "unlimited"
    assert [app["name"] for app in run("apps", "--json").json] == ["shop"]
    assert run("apps", "list", "--json").json == run("apps", "--json").json
    key = run("keys", "create", "shop", "m", "--json").json
    assert key["secret"] == "tw_live_abcd1"
    assert run("keys", "update", "k1", "--label", "till", "--json").json["label"] == "till"
    rotated = run("keys", "rotate", "k1", "--overlap", "24h", "--json").json
    assert (rotated["id"], rotated["secret"]) == ("k1", "tw_live_newk1")
    assert run("keys", "revoke", key["id"], "--json").json["revoked"] is True
    assert [s["model"] for s in run("subscriptions", "--json").json] == ["m"]
    assert run("subscriptions", "list", "--json").json == run("subscriptions", "--json").json
    decided = run("subscriptions", "approve", "shop", "m", "--json").json
    assert decided["state"] == "active"
    refused = run("subscriptions", "refuse", "shop", "m", "--reason", "no", "--json").json
    assert (refused["state"], refused["reason"]) == ("refused", "no")
    assert run("apps", "unsubscribe", "shop", "m", "--json").json["deleted"] is True
    assert run("apps", "delete", "shop", "--json").json["deleted"] is True
    assert run("plans", "set", "gold", "--concurrency", "4", "--json").json["concurrency"] == 4
    assert run("plans", "show", "gold", "--json").json["name"] == "gold"
    assert [plan["name"] for plan in run("plans", "--json").json] == ["gold"]
    assert run("plans", "list", "--json").json == run("plans", "--json").json
    assert run("plans", "delete", "gold", "--json").json["deleted"] is True
    assert [key["id"] for key in run("keys", "--json").json] == ["k1"]
    assert run("usage", "--json").json[0]["requests"] == 3
    assert run("quotas", "--application", "shop", "--json").json[0]["left"] == 7
    assert run("statements", "shop", "2027-01", "--json").json["id"] == "shop/2027-01"


def test_usage_and_statements_come_as_csv(run: Run, server: FakeServer) -> None:
    assert run("usage", "--csv", "--application", "shop", "--status", "503").out == "a,b\n1,2\n"
    query = httpx.QueryParams(server.asked("GET", "/api/v1/usage")[0].url.query)
    assert (query["application"], query["status"], query["format"]) == ("shop", "503", "csv")
    assert run("statements", "shop", "2027-01", "--csv").out == "a,b\n1,2\n"
    assert run("statements", "shop", "../x").code == 1
    assert run("statements", "shop", "--csv").code == 2


def test_the_months_with_a_statement_are_listed_the_newest_first(run: Run) -> None:
    assert run("statements", "shop", "--json").json == ["2027-02", "2027-01"]
    assert run("statements", "shop").out == "month\n2027-02\n2027-01\n"
    assert run("statements", "../x").code == 1


def test_tables_are_tab_separated_lines_in_a_pipe(run: Run, server: FakeServer) -> None:
    server.add_version("m", {"parity": {"rows": 3, "max_abs_error": 1e-7, "tolerance": 1e-4}})
    server.move("m", "stable", 1)
    header, line = run("versions", "m").out.splitlines()
    assert header.split("\t")[:5] == ["version", "state", "engines", "aliases", "max error"]
    assert line.split("\t")[:5] == ["1", "published", "ready", "stable", "1e-07"]
    assert run("models").out.splitlines()[1].split("\t")[:4] == ["m", "1", "-", "stable=1"]
    assert run("versions", "m", "1").out.splitlines()[0].split() == ["model", "m"]


def test_a_models_rest_is_said_in_words(run: Run, server: FakeServer) -> None:
    server.add_version("m", {})
    said = run("models", "idle", "m", "--unload-after", "900", "--wait", "20").out
    assert said == (
        "m is unloaded after 900 s without a call\ncalls wait up to 20 s while it is loaded again\n"
    )
    refused = run("models", "idle", "m", "--unload-after", "900", "--wait", "0").out
    assert refused.splitlines()[1] == "calls are refused with 503 while it is loaded again"
    assert run("models", "idle", "m", "--unload-after", "0").out == "m stays loaded\n"
    found = run("models", "idle", "m", "--unload-after", "60", "--json").json
    assert found["idle_unload_s"] == 60


def test_the_secret_is_printed_once_by_keys_create_alone(run: Run, server: FakeServer) -> None:
    server.add_version("m", {})
    made = run("keys", "create", "shop", "m", "--expires", "90d")
    assert "tw_live_abcd1" in made.out
    assert "cannot be shown again" in made.err
    assert "tw_live_abcd1" not in run("keys", "list", "shop").out


def test_logging_in_checks_the_token_and_keeps_it_for_the_owner_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOLLWAY_TOKEN")
    monkeypatch.delenv("TOLLWAY_URL")
    done = run("login", "http://server", stdin=TOKEN + "\n")
    assert (done.code, TOKEN in done.out + done.err) == (0, False)
    assert stat.S_IMODE(credentials.path().stat().st_mode) == 0o600
    assert run("models").code == 0
    refused = run("login", "http://server", stdin="tw_wrong\n")
    assert (refused.code, "tw_wrong" in refused.err) == (1, False)
    assert run("login", "http://server", stdin="\n").code == 2


def test_logging_in_takes_the_token_from_a_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "admin.token"
    file.write_text(TOKEN + "\n")
    assert run("login", "http://server", "--token-file", str(file), "--json").json == {
        "url": "http://server",
        "file": str(credentials.path()),
    }


def test_a_closed_pipe_is_no_traceback(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return devnull

    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        monkeypatch.setattr("sys.stdout", Closed())
        done = run("models")
    finally:
        os.close(devnull)
    assert (done.code, done.err) == (1, "")


def test_the_version_and_the_help_need_no_server(run: Run) -> None:
    assert run("--version").out == f"tollway {tollway.__version__}\n"
    assert "deploy" in run("--help").out
