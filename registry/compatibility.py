"""Whether a version can take another's place without its callers noticing, by their manifests.

What callers rely on: every input and column that they send is taken, with the type that they send;
none is asked for that they do not send; every output that they read is there, with its type, and a
classifier's classes are the same in the same order. More may be taken and given than before.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from protocol.manifest import Column, Manifest, Tensor

ANY_SIZE: Final = -1
"""A dimension of a shape that may have any size."""
SHOWN: Final = 5
"""Classes that a message names; of the others it gives the count."""


def differences(present: Manifest, following: Manifest) -> list[str]:
    """Everything that callers of ``present`` could trip over at ``following``, each in words;
    empty: it can take its place."""
    return [
        *_inputs(present.inputs, following.inputs),
        *_columns(present, following),
        *_outputs(present.outputs, following.outputs),
        *_classes(present.labels, following.labels),
        *_task(present, following),
    ]


def _inputs(present: Sequence[Tensor], following: Sequence[Tensor]) -> Iterable[str]:
    had, has = _by_name(present), _by_name(following)
    for name, old in had.items():
        new = has.get(name)
        if new is None:
            yield f"input '{name}' is removed"
            continue
        if new.datatype != old.datatype:
            yield f"input '{name}' is {new.datatype}, was {old.datatype}"
        if not _covers(new.shape, old.shape):
            yield f"input '{name}' has shape {_shape(new)}, had {_shape(old)}"
        if old.optional and not new.optional:
            yield f"input '{name}' is required, was optional"
    for name, new in has.items():
        if name not in had and not new.optional:
            yield f"input '{name}' is new and required"


def _columns(present: Manifest, following: Manifest) -> Iterable[str]:
    had = {column.name: column for column in present.columns}
    has = {column.name: column for column in following.columns}
    optional = {tensor.name for tensor in following.inputs if tensor.optional}
    for name, old in had.items():
        new = has.get(name)
        if new is None:
            yield f"column '{name}' is removed"
            continue
        if new.type != old.type:
            yield f"column '{name}' is {new.type}, was {old.type}"
        if (new.input, new.index) != (old.input, old.index):
            yield f"column '{name}' is in {_place(new)}, was in {_place(old)}"
        if old.null is not None and new.null is None and new.type == "string":
            yield f"column '{name}' must have a value, could be missing"
    for name, new in has.items():
        # Whose callers sent no columns by name send none of these either.
        if had and name not in had and new.input not in optional:
            yield f"column '{name}' is new and required"


def _outputs(present: Sequence[Tensor], following: Sequence[Tensor]) -> Iterable[str]:
    had, has = _by_name(present), _by_name(following)
    for name, old in had.items():
        new = has.get(name)
        if new is None:
            yield f"output '{name}' is removed"
            continue
        if new.datatype != old.datatype:
            yield f"output '{name}' is {new.datatype}, was {old.datatype}"
        if not _covers(old.shape, new.shape):
            yield f"output '{name}' has shape {_shape(new)}, had {_shape(old)}"
        if new.optional and not old.optional:
            yield f"output '{name}' may be missing, was always there"
    if len(had) == 1 and len(has) > 1 and had.keys() <= has.keys():
        # V1 gives the values of a single output bare, those of several by their names.
        added = ", ".join(f"'{name}'" for name in has if name not in had)
        yield (
            f"output '{next(iter(had))}' is no longer the only one ({added} is new): the V1 "
            "protocol then answers with objects"
        )


def _classes(present: Sequence[object], following: Sequence[object]) -> Iterable[str]:
    if not present or _typed(present) == _typed(following):
        return  # nothing that a caller could have relied on
    had, has = set(_typed(present)), set(_typed(following))
    removed = [label for label in present if (type(label), label) not in has]
    added = [label for label in following if (type(label), label) not in had]
    if not removed and not added:
        yield f"classes are in the order {_some(following)}, were {_some(present)}"
    if removed:
        yield f"classes {_some(removed)} are removed"
    if added:
        yield f"classes {_some(added)} are new"


def _task(present: Manifest, following: Manifest) -> Iterable[str]:
    if present.task != following.task and "unknown" not in (present.task, following.task):
        yield f"the task is {following.task}, was {present.task}"


def _covers(wide: Sequence[int], narrow: Sequence[int]) -> bool:
    """Whether every tensor of shape ``narrow`` is one of shape ``wide``."""
    return len(wide) == len(narrow) and all(
        outer in (ANY_SIZE, inner) for outer, inner in zip(wide, narrow, strict=True)
    )


def _by_name(tensors: Sequence[Tensor]) -> dict[str, Tensor]:
    return {tensor.name: tensor for tensor in tensors}


def _typed(labels: Sequence[object]) -> list[tuple[type, object]]:
    """Labels with their types: 1, 1.0 and true are different answers in JSON."""
    return [(type(label), label) for label in labels]


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)


def _place(column: Column) -> str:
    return f"'{column.input}'" + ("" if column.index is None else f"[{column.index}]")


def _some(labels: Sequence[object]) -> str:
    shown = ", ".join(repr(label)[:40] for label in labels[:SHOWN])
    more = len(labels) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
