"""A shadow on a real stack: what clients do with one version, and what another would have said."""

from pathlib import Path

import numpy as np
import onnx
import tritonclient.http as triton
from onnx import numpy_helper

from tests.e2e.models import affine
from tests.e2e.stack import RunningStack, eventually

REQUESTS = 30


def other() -> onnx.ModelProto:
    """y = 2.5x."""
    graph = affine()
    [two] = graph.graph.initializer
    two.CopyFrom(numpy_helper.from_array(np.array([2.5], np.float32), two.name))
    return graph


def test_a_shadow_is_compared_with_every_form_of_answer_and_reported(tmp_path: Path) -> None:
    # However busy this machine is: every request is to be mirrored here.
    late = {"TOLLWAY_SHADOW_LATE_MS": "60000", "TOLLWAY_SHADOW_OCCUPIED_PERCENT": "100"}
    with RunningStack(tmp_path / "data", settings=late) as stack, stack.client() as client:
        client.deploy(other(), name="affine")
        client.deploy(affine(), name="affine")
        with stack.api() as api:
            assert api.put("/api/v1/models/affine", json={"capture_percent": 100}).is_success
            shadow = {"shadow": [{"version": 1, "percent": 100}]}
            assert api.put("/api/v1/models/affine/rollout", json=shadow).is_success
        key = client.create_key(application="shop", model="affine", plan="unlimited")
        with stack.api(key.secret) as api:
            # The change reaches the gateway within a second; from then on everything is mirrored.
            def compared() -> int:
                assert api.post("/v1/models/affine:predict", json=rows).status_code == 200
                return sum(item.requests for item in client.disagreement("affine", 1).items)

            rows = {"instances": [[1, 2, 3], [4, 5, 6]]}
            eventually(lambda: compared() > 0)
            for number in range(REQUESTS):
                answer = api.post("/v1/models/affine:predict", json={"inputs": [[number, 2, 3]]})
                assert answer.json() == {"outputs": [[2 * number, 4, 6]]}
                assert answer.headers["Tollway-Version"] == "2"
        with triton.InferenceServerClient(stack.url.removeprefix("http://")) as server:
            given = triton.InferInput("x", [1, 3], "FP32")
            given.set_data_from_numpy(np.array([[1000, 2, 3]], np.float32))
            answered = server.infer(
                "affine", [given], headers={"X-API-Key": key.secret},
                request_compression_algorithm="gzip", response_compression_algorithm="gzip",
            )  # fmt: skip
            assert answered.as_numpy("y").tolist() == [[2000, 4, 6]]

        eventually(lambda: client.disagreement("affine", 1).items[0].largest == 500)
        found = client.disagreement("affine", 1, by=("application",))
        [item] = found.items
        assert (item.against, item.application, item.failures) == (2, "shop", {})
        assert item.requests > REQUESTS
        assert (item.equal, item.missing, item.flips) == (0, 0, 0)
        assert item.largest == 500
        example = found.examples[0]
        assert (example.difference, example.answered) == (500, {"y": [2000, 4, 6]})
        assert (example.inputs, example.shadow) == ({"x": [1000, 2, 3]}, {"y": [2500, 5, 7.5]})
        with stack.api() as api:
            [stats] = api.get("/v2/models/affine/versions/1/stats").json()["model_stats"]
        assert stats["inference_count"] == 0
        assert {row.version for row in client.usage(by=("version",))} == {2}
