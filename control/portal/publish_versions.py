"""A version's facts as its page shows them. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import UNSET

from protocol.configuration import LEGAL
from protocol.manifest import Manifest, Tensor
from registry.outputs import VersionOutput

ANY: Final = "any"
_VERBS: Final = {
    "validated": ("Validate", "its golden rows pass on an engine"),
    "approved": ("Mark as approved", "it has passed its gate"),
    "published": ("Publish", "callers may name it, and it may get traffic"),
    "rejected": ("Reject", "it will never be called"),
}


class FileView(msgspec.Struct, frozen=True, kw_only=True):
    """A file that the version needs."""

    role: str
    path: str
    size: int
    digest: str


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A state that the version may take next, as a button."""

    to: str
    label: str
    what: str


def manifest_of(version: VersionOutput) -> Manifest:
    """What the API gives, as the domain has it."""
    return msgspec.convert(version.manifest, Manifest)


def files(manifest: Manifest) -> list[FileView]:
    """Everything that the version needs; nothing of a remote one."""
    return [
        FileView(role=role, path=blob.path, size=blob.size, digest=blob.digest)
        for role, blob in manifest.blobs()
    ]


def shape(tensor: Tensor) -> str:
    """``rows by 30``: dimensions by name where they have one."""
    symbols = () if tensor.symbols is UNSET else tensor.symbols
    named = [*symbols, *[None] * (len(tensor.shape) - len(symbols))]
    parts = [
        name or (ANY if size < 0 else str(size))
        for size, name in zip(tensor.shape, named, strict=False)
    ]
    return " \N{MULTIPLICATION SIGN} ".join(parts) or "one value"


def explanation(manifest: Manifest) -> str:
    """How the version's answers can be explained, in words."""
    if manifest.additive is not UNSET and manifest.additive:
        return "exact: the graph is a sum over its columns"
    if manifest.background is not UNSET:
        return "Shapley values over the background rows"
    if manifest.artifact is None:
        return "none: it runs on another server"
    return "none: no background rows were brought"


def moves(version: VersionOutput) -> list[Move]:
    """The steps that its page offers; those of its end have pages of their own."""
    following = LEGAL[version.state]
    return [
        Move(to=to, label=label, what=what)
        for to, (label, what) in _VERBS.items()
        if to in following
    ]


def observed(minimum: float | None, maximum: float | None) -> str:
    """The range that training saw."""
    if minimum is None and maximum is None:
        return ""
    return " \N{EN DASH} ".join("" if end is None else f"{end:.6g}" for end in (minimum, maximum))


def listed(pairs: Mapping[str, object]) -> str:
    """``numpy 2.4, onnx 1.21``."""
    return ", ".join(f"{name or 'ai.onnx'} {value}" for name, value in pairs.items())
