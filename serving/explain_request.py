"""What a client asks to have explained, and the answer that it gets.

A V1 body as ``:predict`` takes it, with ``parameters`` beside the rows. The answer has one object a
row in ``explanations``; of an output with several values, each object holds one entry for each
class where it otherwise holds a value.
"""

from typing import Annotated, Final, Literal

import msgspec
import numpy as np

from protocol.errors import Code, TollwayError
from serving.background import BackgroundRows
from serving.call import Call
from serving.explain import Explained, Output, unexplainable
from serving.json_text import parse
from serving.signature import Signature, malformed
from serving.tensors import TensorSpec, invalid, show
from serving.v1 import V1

Label = str | int | float | bool
PREFERRED: Final = ("probabilities", "scores", "prediction", "transformed")
"""What is explained where nothing is said; else the only output of floats."""
MAX_NUMBERS: Final = 1 << 16
"""Contributions that one answer may have."""
_FLOATS: Final = frozenset({"FP16", "FP32", "FP64"})
_SEVERAL: Final = 2
_json: Final = msgspec.json.Encoder().encode


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request's ``parameters``."""

    permutations: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    """Permutations of the columns, each with its reverse."""
    seed: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)] = 0
    classes: Literal["all", "predicted"] | list[Label] = "all"
    output: str | None = None
    method: Literal["auto", "permutation"] = "auto"
    """``permutation``: the output as it is, also where it is a sum under a link."""


class Request(msgspec.Struct, frozen=True):
    """What to explain."""

    call: Call
    parameters: Parameters
    output: Output
    classes: list[int] | None
    """The values of the output that are asked for; None: of each row the largest."""


class Reader:
    """Reads one model's requests to explain, and writes their answers."""

    def __init__(self, signature: Signature, v1: V1, background: BackgroundRows | None) -> None:
        self._signature = signature
        self._v1 = v1
        self._background = background
        additive = signature.manifest.additive or ()
        sums = {found.output: found for found in additive}
        self._outputs = [
            Output(index, spec.name, sums.get(spec.name))
            for index, spec in enumerate(signature.outputs)
        ]

    def read(self, body: bytes, max_rows: int) -> Request:
        """The request of a body. Raises ``TollwayError`` with the reason if it is none, or there
        is nothing that explanations could compare with."""
        if self._background is None:
            raise unexplainable(
                f"model {self._signature.model!r} version {self._signature.version} has no "
                "background rows: deploy it with X"
            )
        call = self._v1.decode(body)
        if not 1 <= call.rows <= max_rows:
            raise TollwayError(
                Code.TOO_LARGE,
                f"the request has {call.rows} rows, and {max_rows} can be explained in one: "
                "split it",
            )
        self._check_inputs(call)
        parameters = _parameters(body)
        output = self._output(parameters.output)
        classes = self._classes(output, parameters.classes)
        numbers = call.rows * len(self._background.columns) * self.width(output)
        if numbers > MAX_NUMBERS:
            raise TollwayError(
                Code.TOO_LARGE,
                f"the explanation would have {numbers} contributions; {MAX_NUMBERS} fit into one "
                "answer: send fewer rows",
            )
        return Request(call, parameters, output, classes)

    def width(self, output: Output) -> int:
        """Values of the output in a row, as far as the graph says."""
        return max(self._signature.outputs[output.index].row_elements, 1)

    def write(self, request: Request, found: Explained) -> bytes:
        """The answer."""
        assert self._background is not None
        labels = self._labels(request.output, found.base.size)
        rows = [
            self._row(request, found, row, labels, self._background.columns)
            for row in range(len(found.predictions))
        ]
        answer: dict[str, object] = {
            "explanations": rows,
            "output": request.output.name,
            "space": self._space(request.output, found),
            "method": _method(found),
            "background_rows": self._background.rows,
            "evaluations": found.evaluations,
        }
        if not found.exact:
            answer["permutations"] = request.parameters.permutations
            answer["seed"] = request.parameters.seed
        if labels is not None:
            answer["classes"] = labels
        return _json(answer)

    def _row(
        self,
        request: Request,
        found: Explained,
        row: int,
        labels: list[Label] | None,
        columns: list[str],
    ) -> dict[str, object]:
        by_column = found.contributions[row]
        error = float(found.errors[row])
        if labels is None:
            return {
                "prediction": float(found.predictions[row, 0]),
                "base_value": float(found.base[0]),
                "contributions": dict(zip(columns, by_column[:, 0].tolist(), strict=True)),
                "additivity_error": error,
            }
        chosen = request.classes
        if chosen is None:
            chosen = [int(np.argmax(found.predictions[row]))]
        names = {place: _key(labels[place]) for place in chosen}
        return {
            "prediction": {name: float(found.predictions[row, at]) for at, name in names.items()},
            "base_value": {name: float(found.base[at]) for at, name in names.items()},
            "contributions": {
                name: dict(zip(columns, by_column[:, at].tolist(), strict=True))
                for at, name in names.items()
            },
            "additivity_error": error,
        }

    def _check_inputs(self, call: Call) -> None:
        assert self._background is not None
        signature = self._signature
        for spec, feed, known in zip(
            signature.inputs, call.feeds, self._background.feeds, strict=True
        ):
            if (feed is None) != (known is None):
                raise invalid(f"input {show(spec.name)} cannot be given to be explained")
            if feed is None or known is None:
                continue
            if feed.shape[1:] != known.shape[1:] or feed.shape[0] != call.rows:
                raise invalid(
                    f"input {show(spec.name)} has shape {list(feed.shape)}; to be explained it "
                    f"must be {[call.rows, *known.shape[1:]]}"
                )

    def _output(self, name: str | None) -> Output:
        signature = self._signature
        if name is not None:
            found = self._outputs[signature.output(name)]
            if not self._explains(signature.outputs[found.index]):
                raise invalid(f"output {show(name)} holds no numbers that could be explained")
            return found
        usable = [o for o in self._outputs if self._explains(signature.outputs[o.index])]
        preferred = [o for wanted in PREFERRED for o in usable if o.name == wanted]
        if preferred or len(usable) == 1:
            return (preferred or usable)[0]
        if not usable:
            raise unexplainable(
                f"model {signature.model!r} gives labels alone: there are no probabilities, "
                "scores or estimates that could be explained"
            )
        names = ", ".join(repr(output.name) for output in usable)
        raise invalid(f"say in 'parameters' which output to explain: {names}")

    @staticmethod
    def _explains(spec: TensorSpec) -> bool:
        return spec.datatype in _FLOATS and spec.name != "label"

    def _labels(self, output: Output, width: int) -> list[Label] | None:
        """What the output's values are called; None for one value."""
        labels = list(self._signature.manifest.labels)
        if width < _SEVERAL:
            return None
        if len(labels) == width and output.name in ("probabilities", "scores"):
            return labels
        return list(range(width))

    def _classes(
        self, output: Output, wanted: Literal["all", "predicted"] | list[Label]
    ) -> list[int] | None:
        width = self.width(output)
        if wanted == "predicted":
            return None
        labels = self._labels(output, width) or []
        if not isinstance(wanted, list):
            return list(range(width))
        if not labels:
            raise invalid(f"output {show(output.name)} has one value: there are no classes to name")
        if not wanted:
            raise invalid("'classes' is empty")
        places = [_place(label, labels) for label in wanted]
        return list(dict.fromkeys(places))

    def _space(self, output: Output, found: Explained) -> str:
        if found.link in ("logistic", "softmax"):
            return "log_odds" if found.base.size == _SEVERAL else "log_ratio"
        return "probability" if output.name == "probabilities" else "output"


def _parameters(body: bytes) -> Parameters:
    value = parse(body)
    given = value.get("parameters") if isinstance(value, dict) else None
    if given is None:
        return Parameters()
    try:
        return msgspec.convert(given, Parameters, strict=True)
    except msgspec.ValidationError as error:
        raise malformed(f"'parameters': {error}") from None


def _place(label: Label, labels: list[Label]) -> int:
    for place, known in enumerate(labels):
        # 1 and 1.0 are one label to JSON; true is another.
        if label == known and isinstance(label, bool) == isinstance(known, bool):
            return place
    for place, known in enumerate(labels):
        if label == _key(known):  # as the answer calls it
            return place
    known_labels = ", ".join(show(known) for known in labels[:20])
    raise invalid(f"class {show(label)} is none of the model's: {known_labels}")


def _key(label: Label) -> str:
    return label if isinstance(label, str) else _json(label).decode()


def _method(found: Explained) -> str:
    if found.link != "none":
        return "additive"
    return "enumeration" if found.exact else "permutation"
