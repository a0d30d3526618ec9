"""Explanations: rows in, what each column contributes to their answers out, over V1."""

import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec
import numpy as np
import numpy.typing as npt

from tollway import errors
from tollway.prediction import encode, version_of
from tollway.signatures import Signature, Signatures
from tollway.tensors import Array
from tollway.transport import Transport

if TYPE_CHECKING:
    from tollway.conversion import ColumnSpec, Label
    from tollway.conversion.foreign import Frame

Method = Literal["auto", "permutation"]
Numbers = npt.NDArray[np.float64]

ROWS_PER_REQUEST = 10
"""Rows beyond this go in a further request: each has a deadline, and servers bound its rows."""
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How rows should be explained; None: as the server does where nothing is said."""

    classes: "Literal['all', 'predicted'] | Sequence[Label]" = "all"
    output: str | None = None
    method: Method = "auto"
    permutations: int | None = None
    seed: int | None = None

    def parameters(self) -> dict[str, object]:
        """The ``parameters`` of a request."""
        found = {
            "classes": self.classes if isinstance(self.classes, str) else list(self.classes),
            "output": self.output,
            "method": self.method,
            "permutations": self.permutations,
            "seed": self.seed,
        }
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What the columns of some rows contribute: ``base_values`` and the sum of a row's
    ``contributions`` over its columns are its ``predictions``, in ``space``."""

    columns: list[str]
    contributions: Numbers
    """``[row, column]``; of several classes ``[row, class, column]``."""
    base_values: Numbers
    """``[row]``, or ``[row, class]``."""
    predictions: Numbers
    """``[row]``, or ``[row, class]``."""
    classes: "list[Label] | None"
    """The classes of the second axis; of each row the predicted class where these were asked for,
    which have no axis; None for an output of one value."""
    additivity_errors: Numbers
    """``[row]``: what base value and contributions miss the prediction by, relative to its size."""
    output: str
    space: str
    """``output``, ``probability``, ``log_odds`` or ``log_ratio``."""
    method: str
    """``additive`` and ``enumeration`` are exact, ``permutation`` estimates."""
    evaluations: int
    """Rows that the model ran for it."""
    version: int
    """The version that answered."""

    def __len__(self) -> int:
        return len(self.contributions)

    def frame(self) -> "Frame":
        """A pandas frame with a row for each row, and class where there are several, and a column
        for each column; rows are known by ``row`` and ``class``."""
        try:
            pandas = importlib.import_module("pandas")
        except ImportError:
            raise errors.InvalidRequestError("a frame needs pandas: install it") from None
        rows = range(len(self))
        if self.classes is None:
            index = pandas.RangeIndex(len(self), name="row")
            return pandas.DataFrame(self.contributions, index=index, columns=self.columns)
        if self.contributions.ndim == _BY_ROW:
            pairs = list(zip(rows, self.classes, strict=True))
        else:
            pairs = [(row, label) for row in rows for label in self.classes]
        index = pandas.MultiIndex.from_tuples(pairs, names=["row", "class"])
        flat = self.contributions.reshape(-1, len(self.columns))
        return pandas.DataFrame(flat, index=index, columns=self.columns)


_BY_ROW = 2


class _Row(msgspec.Struct):
    prediction: float | dict[str, float]
    base_value: float | dict[str, float]
    contributions: dict[str, Any]
    additivity_error: float


class _Answer(msgspec.Struct):
    explanations: list[_Row]
    output: str
    space: str
    method: str
    evaluations: int
    classes: list[str | int | float | bool] | None = None


class Explainers:
    """Has rows explained by the server."""

    def __init__(self, transport: Transport, signatures: Signatures) -> None:
        self._transport = transport
        self._signatures = signatures

    def explain(self, model: str, X: object, version: int | None, wish: Wish) -> Explanation:
        """See :meth:`tollway.Client.explain`."""
        signature = self._signatures.get(model, version)
        for _ in range(_ATTEMPTS):
            try:
                rows = _rows(signature, encode(signature, X))
                answers, number = self._ask(model, version, rows, wish)
            except (errors.InvalidRequestError, errors.NotFoundError):
                # Perhaps the model was deployed again with other columns since we last looked.
                self._signatures.forget(model)
                present = self._signatures.get(model, version)
                if present == signature:
                    raise
                signature = present
                continue
            if number not in (0, signature.number):
                present = self._signatures.answered_by(model, number)
                if not present.encodes_as(signature):
                    signature = present
                    continue
                signature = present
            return _read(answers, signature, wish)
        raise errors.ConflictError(f"model '{model}' is being deployed again and again")

    def _ask(
        self, model: str, version: int | None, rows: list[dict[str, object]], wish: Wish
    ) -> tuple[list[_Answer], int]:
        """All rows, in as many requests as they need, explained by one version."""
        path = f"/v1/models/{model}" + (f"/versions/{version}" if version else "") + ":explain"
        parameters = wish.parameters()
        answers: list[_Answer] = []
        pinned = version
        for start in range(0, len(rows), ROWS_PER_REQUEST):
            body = {"instances": rows[start : start + ROWS_PER_REQUEST], "parameters": parameters}
            headers = {}
            if answers and pinned and version is None:
                headers["Tollway-Version"] = str(pinned)
            # An explanation changes nothing on the server, so it may be asked for again.
            response = self._transport.request("POST", path, json=body, headers=headers)
            pinned = version_of(response) or version
            answers.append(self._transport.read(response, _Answer))
        return answers, pinned or 0


def _rows(signature: Signature, tensors: dict[str, Array]) -> list[dict[str, object]]:
    """The rows as objects by column, with the values that predictions would send."""
    if not signature.columns:
        raise errors.InvalidRequestError(
            f"model '{signature.model}' version {signature.number} has no columns to explain:"
            " deploy it with X"
        )
    values = {column["name"]: list(_values(column, tensors)) for column in signature.columns}
    count = min(len(column) for column in values.values())
    if not count:
        raise errors.InvalidRequestError("there are no rows to explain")
    return [{name: column[row] for name, column in values.items()} for row in range(count)]


def _values(column: "ColumnSpec", tensors: dict[str, Array]) -> Iterator[object]:
    tensor = tensors[column["input"]]
    flat = tensor.reshape(len(tensor), -1)[:, column.get("index") or 0]
    for value in flat.tolist():
        missing = isinstance(value, float) and not math.isfinite(value)
        yield None if missing else value


def _read(answers: list[_Answer], signature: Signature, wish: Wish) -> Explanation:
    first = answers[0]
    rows = [row for answer in answers for row in answer.explanations]
    labels = _labels(first, signature)
    if not labels:
        columns = list(rows[0].contributions)
        contributions = [[row.contributions[name] for name in columns] for row in rows]
        chosen = None
    else:
        names = [list(cast("dict[str, float]", row.prediction)) for row in rows]
        columns = list(rows[0].contributions[names[0][0]])
        contributions = [
            [[row.contributions[kind][name] for name in columns] for kind in kinds]
            for row, kinds in zip(rows, names, strict=True)
        ]
        of_each_row = wish.classes == "predicted"
        chosen = [labels[kinds[0]] for kinds in names] if of_each_row else [
            labels[kind] for kind in names[0]
        ]  # fmt: skip
    squeezed = bool(labels) and wish.classes == "predicted"

    def numbers(values: list[Any]) -> Numbers:
        array = np.array(values, np.float64)
        return array[:, 0] if squeezed else array

    return Explanation(
        columns=columns,
        contributions=numbers(contributions),
        base_values=numbers([_plain(row.base_value) for row in rows]),
        predictions=numbers([_plain(row.prediction) for row in rows]),
        classes=chosen,
        additivity_errors=np.array([row.additivity_error for row in rows]),
        output=first.output,
        space=first.space,
        method=first.method,
        evaluations=sum(answer.evaluations for answer in answers),
        version=signature.number,
    )


def _plain(value: float | dict[str, float]) -> float | list[float]:
    return list(value.values()) if isinstance(value, dict) else value


def _labels(answer: _Answer, signature: Signature) -> "dict[str, Label]":
    """Key of each class -> the class, in the type of the estimator's classes."""
    if answer.classes is None:
        return {}
    keys = [
        label if isinstance(label, str) else msgspec.json.encode(label).decode()
        for label in answer.classes
    ]
    known = signature.labels if len(signature.labels) == len(keys) else answer.classes
    named = answer.output in ("probabilities", "scores")
    return dict(zip(keys, known if named else answer.classes, strict=True))
