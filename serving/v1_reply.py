"""V1 answers.

An answer to ``instances`` is ``{"predictions": [...]}``, one item a row: the value itself when the
model has one output, an object keyed by output name when it has several. An answer to ``inputs`` is
``{"outputs": ...}``, whole tensors likewise. An output of one value a row, ``[N, 1]``, is written
without its inner brackets for models whose task says that the value is a label, a score or an
estimate; otherwise nested as it is.
"""

from typing import Final

import msgspec

from protocol.frames import NO_HEADER
from serving.call import Results
from serving.signature import Signature
from serving.tensors import invalid

_encode: Final = msgspec.json.Encoder().encode
_NUMBER_TASKS: Final = frozenset({"classification", "regression", "clustering", "outlier"})


def _json(document: object) -> bytes:
    try:
        return _encode(document)
    except UnicodeEncodeError:
        raise invalid(
            "an output has bytes that are not UTF-8, which JSON cannot carry: "
            "ask by V2 with the parameter binary_data"
        ) from None


class ColumnEncoder:
    """``{"outputs": ...}``: whole tensors; the one output bare, several keyed by name."""

    def __init__(self, signature: Signature) -> None:
        self._names = [spec.name for spec in signature.outputs]
        self._squeeze = signature.manifest.task in _NUMBER_TASKS

    def encode(self, results: Results, start: int, stop: int) -> tuple[bytes, int]:
        """See :class:`serving.call.Encoder`."""
        tensors = [self.nested(results, index, start, stop) for index in range(len(self._names))]
        if len(tensors) == 1:
            return _json({"outputs": tensors[0]}), NO_HEADER
        return _json({"outputs": dict(zip(self._names, tensors, strict=True))}), NO_HEADER

    def nested(self, results: Results, output: int, start: int, stop: int) -> object:
        """A request's share of an output as nested lists; None for one that the run lacks."""
        if results.arrays[output] is None:
            return None
        array = results.array(output, start, stop)
        if self._squeeze and array.ndim > 1 and array.shape[1:] == (1,):
            array = array.reshape(-1)
        nested: object = array.tolist()
        return nested


class RowEncoder(ColumnEncoder):
    """``{"predictions": [...]}``: an item a row."""

    def encode(self, results: Results, start: int, stop: int) -> tuple[bytes, int]:
        """See :class:`serving.call.Encoder`. Refuses outputs that have no item for each row."""
        rows = stop - start
        tensors = [self.nested(results, index, start, stop) for index in range(len(self._names))]
        columns: list[list[object]] = []
        for name, tensor in zip(self._names, tensors, strict=True):
            if not isinstance(tensor, list) or len(tensor) != rows:
                raise invalid(
                    f"output {name!r} does not have one item for each instance: "
                    "ask with 'inputs' instead"
                )
            columns.append(tensor)
        if len(tensors) == 1:
            return _json({"predictions": tensors[0]}), NO_HEADER
        names = self._names
        items = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        return _json({"predictions": items}), NO_HEADER
