"""Codes, names and manifests keep what the other roles rely on."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import STATUS, Code, TollwayError
from protocol.manifest import Additive, Blob, Manifest, Tensor, canonical_json, sha256_digest
from protocol.names import check_name


def test_every_code_has_a_status() -> None:
    assert set(STATUS) == set(Code)
    assert all(400 <= status < 600 for status in STATUS.values())


@pytest.mark.parametrize("name", ["a", "0", "credit-risk", "a" * 63, "x--y-"])
def test_good_names_pass(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "a" * 64, "a\n", "é", "a/b", "a b", "."])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(TollwayError) as refusal:
        check_name(name)
    assert refusal.value.code is Code.INVALID


def test_a_manifest_without_named_dimensions_has_the_digest_it_always_had() -> None:
    tensor = Tensor(name="i", datatype="FP32", shape=(-1, 2))
    plain = msgspec.to_builtins(tensor)
    assert plain == {"name": "i", "datatype": "FP32", "shape": (-1, 2), "optional": False}
    assert msgspec.convert(plain, Tensor) == tensor
    named = msgspec.structs.replace(tensor, symbols=("rows", None))
    assert msgspec.json.decode(msgspec.json.encode(named), type=Tensor) == named


def test_a_manifest_without_background_rows_has_the_digest_it_always_had() -> None:
    blob = Blob(digest=sha256_digest(b"x"), size=1)
    plain = Manifest(model="m", artifact=blob, inputs=(), outputs=())
    fields = msgspec.to_builtins(plain)
    assert not {"background", "additive", "remote"} & set(fields)
    assert msgspec.convert(fields, Manifest) == plain
    explained = msgspec.structs.replace(
        plain, background=blob, additive=(Additive(output="y", link="logistic"),)
    )
    assert msgspec.json.decode(canonical_json(explained), type=Manifest) == explained
    assert explained.blobs() == [("artifact", blob), ("background", blob)]


@given(metrics=st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False), max_size=5))
def test_manifest_digest_does_not_depend_on_the_order_of_its_maps(
    metrics: dict[str, float],
) -> None:
    def manifest(given_metrics: dict[str, float]) -> Manifest:
        return Manifest(
            model="m",
            artifact=Blob(digest=sha256_digest(b"x"), size=1),
            inputs=(Tensor(name="i", datatype="FP32", shape=(-1, 2)),),
            outputs=(),
            opsets={"": 21},
            ir_version=10,
            metrics=given_metrics,
        )

    finite = {k: v for k, v in metrics.items() if abs(v) != float("inf")}
    backwards = dict(reversed(finite.items()))
    encoded = canonical_json(manifest(finite))
    assert encoded == canonical_json(manifest(backwards))
    assert msgspec.json.decode(encoded, type=Manifest) == manifest(finite)
