"""Tensors as the model declares them, and JSON values made arrays with errors that say where."""

from collections.abc import Callable
from functools import lru_cache
from itertools import chain
from struct import Struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from protocol.datatypes import BINARY_ONLY, NUMPY_NAMES
from protocol.errors import Code, TollwayError
from protocol.manifest import Tensor

Array = npt.NDArray[Any]
Where = Callable[[int], str]
"""Names the element at a flat index, for an error: ``input 'age' data[37]``."""

SHOWN_CHARACTERS: Final = 80
"""How much of a client's value an error may repeat."""
MAX_EMPTY: Final = 1 << 20
"""What the varying dimensions of an empty tensor, but for its zeros, may multiply to. A tensor with
elements is bounded by its body; an empty one could have the graph fill any other shape with few
bytes."""
FLOATS: Final = frozenset({"FP16", "FP32", "FP64"})
_PYTHON_TYPES: Final[dict[str, frozenset[type]]] = {
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
    **dict.fromkeys(FLOATS, frozenset({float, int, type(None)})),
}
_LETTERS: Final = {"FP32": "f", "FP64": "d"}
_INTEGER: Final[frozenset[type]] = frozenset({int})


def invalid(message: str) -> TollwayError:
    """An ``INVALID_TENSOR`` error (400)."""
    return TollwayError(Code.INVALID_TENSOR, message)


def exact_floats() -> np.errstate:
    """Within it, a number too large for its float type raises instead of becoming infinite."""
    return np.errstate(over="raise")


@lru_cache(256)
def packer(count: int, letter: str) -> Callable[..., bytes]:
    """Packs ``count`` floats, given as arguments, in a third of the time that numpy takes for them.
    Rounds as numpy does; raises ``OverflowError`` for one that is too large, and ``struct.error``
    for what is no float, or not so many."""
    return Struct(f"<{count}{letter}").pack


class TensorSpec:
    """One input or output of the graph, with what decoding asks of it worked out once."""

    __slots__ = (
        "datatype",
        "dtype",
        "dynamic",
        "letter",
        "name",
        "optional",
        "row_elements",
        "rows",
        "shape",
        "trailing",
    )

    def __init__(self, tensor: Tensor) -> None:
        self.name = tensor.name
        self.datatype = tensor.datatype
        self.dtype = np.dtype(NUMPY_NAMES.get(tensor.datatype, "uint16"))
        """BF16 has no numpy type; it travels as the 16 bits that it is."""
        self.letter = _LETTERS.get(tensor.datatype, "")
        """What :func:`packer` calls its elements; empty: it packs none of them."""
        self.shape = tensor.shape
        self.trailing = list(tensor.shape[1:])
        self.dynamic = bool(tensor.shape) and tensor.shape[0] < 0
        """Whether the first dimension may vary from call to call."""
        self.rows = self.dynamic and all(size >= 0 for size in self.trailing)
        """Whether it takes any number of rows of one fixed shape."""
        self.row_elements = element_count(self.trailing)
        self.optional = tensor.optional

    def check_shape(self, shape: list[int]) -> None:
        """Refuse a shape that is not one the model takes. A dimension that varies may be 0."""
        if len(shape) != len(self.shape):
            raise invalid(
                f"input {show(self.name)} has {len(shape)} dimensions in shape {show(shape)}, "
                f"but the model takes {_spelled(self.shape)}"
            )
        for index, (given, wanted) in enumerate(zip(shape, self.shape, strict=True)):
            if given < 0 or given > np.iinfo(np.int64).max:
                raise invalid(
                    f"input {show(self.name)} shape[{index}]: {show(given)} is not a dimension"
                )
            if wanted >= 0 and given != wanted:
                raise invalid(
                    f"input {show(self.name)} has shape {show(shape)}, "
                    f"but the model takes {_spelled(self.shape)}"
                )
        if 0 in shape:
            self._check_empty(shape)

    def _check_empty(self, shape: list[int]) -> None:
        varying = [
            given for given, wanted in zip(shape, self.shape, strict=True) if given and wanted < 0
        ]
        if element_count(varying) > MAX_EMPTY:
            raise invalid(
                f"input {show(self.name)} has no elements, but the other dimensions of its shape "
                f"{show(shape)} multiply to more than {MAX_EMPTY}"
            )


def _spelled(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join("-1" if size < 0 else str(size) for size in shape) + "]"


def show(value: object) -> str:
    """A client's value as an error may repeat it: JSON's words, cut to a bearable length."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, str):
        value = value[: SHOWN_CHARACTERS + 1].encode("utf-8", "backslashreplace").decode()
        text = repr(value)
    elif isinstance(value, list):
        text = repr(value[:SHOWN_CHARACTERS])
    elif isinstance(value, int) and value.bit_length() > 1024:  # noqa: PLR2004 -- repr() refuses more
        return "a number of more than 300 digits"
    else:
        text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def element_count(shape: list[int]) -> int:
    """Elements of a shape."""
    count = 1
    for size in shape:
        count *= size
    return count


def unnest(data: list[object], what: str) -> tuple[list[object], list[int]]:
    """The elements of nested lists in row-major order, and the shape they are nested in.

    Refuses lists that are ragged or that mix elements and lists.
    """
    level, shape = data, [len(data)]
    while list in (types := set(map(type, level))):
        if len(types) > 1:
            raise invalid(f"{what} mixes values and arrays at depth {len(shape)}")
        rows: list[list[object]] = level  # type: ignore[assignment]  # all are lists, see above
        size = len(rows[0])
        if any(len(row) != size for row in rows):
            raise invalid(f"{what} has arrays of different lengths at depth {len(shape)}")
        level = list(chain.from_iterable(rows))
        shape.append(size)
    return level, shape


def to_elements(values: list[object], datatype: str, where: Where) -> Array:
    """A one-dimensional array of JSON values, or an error that names the first bad one.

    Floats take null as NaN; nothing else takes null. Integers take integer literals only.
    """
    if datatype in BINARY_ONLY:
        raise invalid(f"{where(0)}: {datatype} has no JSON form: send it as binary, over V2")
    allowed = _PYTHON_TYPES.get(datatype, _INTEGER)
    if not set(map(type, values)) <= allowed:
        index = next(i for i, value in enumerate(values) if type(value) not in allowed)
        raise invalid(f"{where(index)}: {show(values[index])} is not {datatype}")
    if datatype == "BYTES":
        return _strings(values, where)
    try:
        with exact_floats():
            return np.array(values, NUMPY_NAMES[datatype])
    except (OverflowError, FloatingPointError):
        index = next(i for i, value in enumerate(values) if not _fits(value, datatype))
        raise invalid(
            f"{where(index)}: {show(values[index])} is out of range for {datatype}"
        ) from None


def _fits(value: object, datatype: str) -> bool:
    try:
        with exact_floats():
            np.array(value, NUMPY_NAMES[datatype])
    except (OverflowError, FloatingPointError):
        return False
    return True


def _strings(values: list[object], where: Where) -> Array:
    strings: list[str] = values  # type: ignore[assignment]  # checked by the caller
    try:
        "".join(strings).encode()
    except UnicodeEncodeError:
        for index, value in enumerate(strings):
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise invalid(f"{where(index)}: {show(value)} is not valid Unicode") from None
        raise
    array = np.empty(len(strings), object)
    array[:] = strings
    return array


def to_tensor(data: object, spec: TensorSpec, shape: list[int]) -> Array:
    """The ``data`` of a V2 input, nested or flat, as an array of ``shape`` (already checked)."""
    what = f"input {show(spec.name)} data"
    if type(data) is not list:
        raise invalid(f"{what} is not an array")
    elements, nested = unnest(data, what)
    count = element_count(shape)
    # Nested lists cannot say what is inside of an empty one: [[], []] may be of shape [2, 0, 3].
    known = shape[: len(nested)] if nested[-1] == 0 else shape
    if len(nested) > 1 and nested != known:
        raise invalid(f"{what} is nested as {show(nested)}, but its shape is {show(shape)}")
    if len(elements) != count:
        raise invalid(
            f"{what} has {len(elements)} elements, but its shape {show(shape)} has {count}"
        )
    array = to_elements(elements, spec.datatype, lambda index: what + position(index, nested))
    return array.reshape(shape)


def position(index: int, nested: list[int]) -> str:
    """``[i]``, or ``[i][j]`` for the element at a flat index of nested data."""
    places = []
    for size in reversed(nested[1:]):
        index, place = divmod(index, size)
        places.append(place)
    places.append(index)
    return "".join(f"[{place}]" for place in reversed(places))


def widened(bits: Array) -> Array:
    """BF16 comes as its 16 bits: the upper half of an FP32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
