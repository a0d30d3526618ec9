"""What the model takes and gives, as the decoders, the batcher and the encoders need it."""

from collections.abc import Iterator

from msgspec import UNSET

from protocol.errors import Code, TollwayError
from protocol.manifest import Manifest
from serving.call import Key, first_rows
from serving.tensors import Array, TensorSpec, invalid, show


class Signature:
    """Inputs and outputs of one model version, in the graph's order."""

    def __init__(self, manifest: Manifest, version: int) -> None:
        self.model = manifest.model
        self.version = version
        self.manifest = manifest
        self.inputs = [TensorSpec(tensor) for tensor in manifest.inputs]
        self.outputs = [TensorSpec(tensor) for tensor in manifest.outputs]
        self.position = {spec.name: index for index, spec in enumerate(self.inputs)}
        self.output_position = {spec.name: index for index, spec in enumerate(self.outputs)}
        self.required = [spec for spec in self.inputs if not spec.optional]
        self.dynamic = (
            bool(self.required)
            and all(spec.dynamic for spec in (*self.required, *self.outputs))
            and not any(spec.optional for spec in self.outputs)
        )
        """Whether the first dimension of all that always comes may vary, so that rows could share a
        run."""
        self.simple_key: Key = (
            ()
            if self.dynamic
            and len(self.required) == len(self.inputs)
            and all(size >= 0 for spec in self.inputs for size in spec.trailing)
            else None
        )
        """The key of every request, where only the number of rows can differ between them."""

        self.of_rows = (
            len(self.inputs) > 1
            and self.dynamic
            and {column.input for column in manifest.columns} == set(self.position)
        )
        """Whether every input holds columns of the same rows. Of a graph without columns nobody
        knows: it may broadcast one input over the others."""
        self._symbols = _shared_symbols(manifest)
        self.bound = self.of_rows or bool(self._symbols)
        """Whether there is something to check between dimensions."""

    def key(self, feeds: list[Array | None]) -> Key:
        """What must be equal for requests to share a run: inputs given, other dimensions."""
        if not self.dynamic:
            return None
        if self.simple_key is None and any(
            spec.optional and feed is not None
            for spec, feed in zip(self.inputs, feeds, strict=True)
        ):
            return None  # the warm-up saw no run with it: its rows may not be the others'
        present = [feed for feed in feeds if feed is not None]
        if any(feed.shape[0] != present[0].shape[0] for feed in present):
            return None  # the graph may broadcast one input over the others: not ours to cut
        if self.simple_key is not None:
            return self.simple_key
        return tuple(None if feed is None else feed.shape[1:] for feed in feeds)

    def rows(self, feeds: list[Array | None]) -> int:
        """Rows of a request: the most of any input that takes any number of them."""
        sizes = [
            feed.shape[0]
            for spec, feed in zip(self.inputs, feeds, strict=True)
            if spec.dynamic and feed is not None
        ]
        return int(max(sizes)) if sizes else first_rows(feeds)

    def check_complete(self, feeds: list[Array | None]) -> None:
        """Refuse a request that leaves out an input which is not optional, or whose inputs do not
        agree on a dimension that they share."""
        for spec, feed in zip(self.inputs, feeds, strict=True):
            if feed is None and not spec.optional:
                raise invalid(f"input {show(spec.name)} is missing")
        self.check_bound(feeds)

    def check_bound(self, feeds: list[Array | None]) -> None:
        """Refuse columns of different numbers of rows, and different sizes of dimensions that the
        graph calls by one name."""
        if self.of_rows:
            self._check_rows(feeds)
        for symbol, places in self._symbols:
            first: tuple[int, int, int] | None = None
            for index, axis in places:
                feed = feeds[index]
                if feed is None:
                    continue
                size = int(feed.shape[axis])
                first = first or (index, axis, size)
                if size != first[2]:
                    raise invalid(
                        f"dimension {show(symbol)} is {first[2]} in input "
                        f"{show(self.inputs[first[0]].name)} shape[{first[1]}] but {size} in input "
                        f"{show(self.inputs[index].name)} shape[{axis}]"
                    )

    def _check_rows(self, feeds: list[Array | None]) -> None:
        first: tuple[str, int] | None = None
        for spec, feed in zip(self.inputs, feeds, strict=True):
            if feed is None or not feed.ndim:
                continue
            rows = int(feed.shape[0])
            first = first or (spec.name, rows)
            if rows != first[1]:
                raise invalid(
                    f"inputs {show(first[0])} and {show(spec.name)} have {first[1]} and {rows} rows"
                )

    def output(self, name: str) -> int:
        """Position of a requested output."""
        index = self.output_position.get(name)
        if index is None:
            known = ", ".join(repr(spec.name) for spec in self.outputs)
            raise invalid(f"unknown output {show(name)}: the model has {known[:400]}")
        return index

    def input(self, name: str) -> int:
        """Position of a given input."""
        index = self.position.get(name)
        if index is None:
            known = ", ".join(repr(spec.name) for spec in self.inputs)
            raise invalid(f"unknown input {show(name)}: the model takes {known[:400]}")
        return index


def _shared_symbols(manifest: Manifest) -> list[tuple[str, list[tuple[int, int]]]]:
    """Names of dimensions that occur in several places of the inputs, with their (input, axis)."""
    places: dict[str, list[tuple[int, int]]] = {}
    for index, axis, symbol in _named_dimensions(manifest):
        places.setdefault(symbol, []).append((index, axis))
    return [(symbol, found) for symbol, found in places.items() if len(found) > 1]


def _named_dimensions(manifest: Manifest) -> Iterator[tuple[int, int, str]]:
    for index, tensor in enumerate(manifest.inputs):
        symbols = () if tensor.symbols is UNSET else tensor.symbols
        for axis, symbol in enumerate(symbols[: len(tensor.shape)]):
            if symbol:
                yield index, axis, symbol


def malformed(message: str) -> TollwayError:
    """A ``MALFORMED`` error (400)."""
    return TollwayError(Code.MALFORMED, message)
