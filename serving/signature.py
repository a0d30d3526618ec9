"""What the model takes and gives, as the decoders, the batcher and the encoders need it."""

from protocol.errors import Code, TollwayError
from protocol.manifest import Manifest
from serving.call import Key
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
        self.dynamic = bool(self.inputs) and all(
            spec.dynamic for spec in (*self.inputs, *self.outputs)
        )
        """Whether every tensor's first dimension may vary, so that rows could share a run."""
        self.simple_key: Key = (
            ()
            if self.dynamic
            and all(
                all(size >= 0 for size in spec.trailing) and not spec.optional
                for spec in self.inputs
            )
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

    def key(self, feeds: list[Array | None]) -> Key:
        """What must be equal for requests to share a run: inputs given, other dimensions."""
        if not self.dynamic:
            return None
        present = [feed for feed in feeds if feed is not None]
        if any(feed.shape[0] != present[0].shape[0] for feed in present):
            return None  # the graph may broadcast one input over the others: not ours to cut
        if self.simple_key is not None:
            return self.simple_key
        return tuple(None if feed is None else feed.shape[1:] for feed in feeds)

    def check_complete(self, feeds: list[Array | None]) -> None:
        """Refuse a request that leaves out an input which is not optional, and, where the manifest
        says that the inputs are columns of the same rows, inputs of different numbers of rows."""
        for spec, feed in zip(self.inputs, feeds, strict=True):
            if feed is None and not spec.optional:
                raise invalid(f"input {show(spec.name)} is missing")
        if self.of_rows:
            self.check_rows(feeds)

    def check_rows(self, feeds: list[Array | None]) -> None:
        """Refuse inputs that do not have the same number of rows."""
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


def malformed(message: str) -> TollwayError:
    """A ``MALFORMED`` error (400)."""
    return TollwayError(Code.MALFORMED, message)
