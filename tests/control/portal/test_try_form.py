"""Which of a version's outputs are the numbers of its classes."""

import pytest

from control.portal.try_form import class_outputs
from protocol.manifest import Manifest, Task, Tensor


@pytest.mark.parametrize(
    ("outputs", "labels", "task", "classes"),
    [
        ({"label": "INT64", "probabilities": "FP32"}, ("a", "b"), "classification", ("label",)),
        ({"y": "UINT8"}, ("a", "b"), "classification", ("y",)),
        ({"y": "INT64", "leaf": "INT64"}, ("a", "b"), "classification", ()),
        ({"class": "INT64", "leaf": "INT64"}, ("a", "b"), "classification", ("class",)),
        ({"label": "BYTES"}, ("a", "b"), "classification", ()),
        ({"label": "INT64"}, (3, 5), "classification", ()),  # it is the label itself
        ({"label": "INT64"}, (), "classification", ()),
        ({"label": "INT64"}, ("a", "b"), "clustering", ()),
    ],
)
def test_whole_numbers_of_a_classifier_with_named_classes_count_them(
    outputs: dict[str, str], labels: tuple[str | int, ...], task: Task, classes: tuple[str, ...]
) -> None:
    manifest = Manifest(
        model="m",
        task=task,
        labels=labels,
        inputs=(),
        outputs=tuple(
            Tensor(name=name, datatype=kind, shape=(-1,)) for name, kind in outputs.items()
        ),
    )
    assert class_outputs(manifest) == classes
