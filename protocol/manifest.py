"""The manifest of a model version: immutable canonical JSON (RFC 8785), known by its digest."""

import hashlib
from typing import Literal

import msgspec
import rfc8785
from msgspec import UNSET, UnsetType

Task = Literal["classification", "regression", "clustering", "outlier", "transform", "unknown"]
ColumnType = Literal["float", "integer", "boolean", "string"]
BlobRole = Literal["artifact", "file", "golden", "background"]


class Blob(msgspec.Struct, frozen=True, kw_only=True):
    """A content-addressed file. ``digest`` is ``sha256:`` and 64 hex digits; ``size`` in bytes."""

    digest: str
    size: int
    path: str = ""
    """Relative path inside the bundle; empty for a blob that stands alone."""


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of the graph. ``shape`` has -1 for a dynamic dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False
    """An input that a request may leave out; an output that an answer may lack."""
    symbols: tuple[str | None, ...] | UnsetType = UNSET
    """The name of each dimension that has one; absent where none has. Dimensions of one name have
    one size in a request."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One column of the training frame and where it goes in the graph's inputs."""

    name: str
    type: ColumnType
    input: str
    """Name of the input tensor that carries the column."""
    index: int | None = None
    """Position inside that tensor's last dimension; None when the tensor is this column alone."""
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    """Values seen in training, for columns with few distinct ones."""
    null_share: float = 0.0
    """Share of missing values in training, 0 to 1."""
    null: str | None = None
    """How a missing value of a string column is spelled in the tensor; None: missing is refused.
    Float columns always carry a missing value as NaN."""
    example: int | float | str | bool | UnsetType = UNSET
    """A value that the publisher gave to be shown to callers; absent where there is none, so that
    manifests from before it keep their digests."""


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """How the converted graph compares with the original estimator on the publisher's rows."""

    rows: int
    max_abs_error: float
    """Largest difference of any number among them; of scores, as a share of their scale."""
    tolerance: float
    """``atol`` of the bound that held for each number ``x`` of the original,
    ``|got - x| <= atol * scale + rtol * |x|``; ``scale`` is 1 for probabilities, else the largest
    magnitude in the output's column."""
    label_mismatches: int = 0
    near_ties: int = 0
    """Rows whose label differs where the original's two best scores are all but equal: by a share
    that is fixed, not by ``tolerance``."""


class Remote(msgspec.Struct, frozen=True, kw_only=True):
    """A model on another server of the Open Inference Protocol, which answers for the version."""

    url: str
    """Where the server's ``/v2`` is, without it and without a slash at the end."""
    model: str
    """The model's name there."""
    version: str = ""
    """The version there; empty: the server's own choice, which may change."""
    credential: str = ""
    """Name of the credential that operators have put beside gateways and control; empty: none."""
    binary: bool = False
    """Whether the server takes and gives binary tensors; else gateways make JSON of them."""
    timeout_ms: int = 30_000
    """Time for one answer as a whole."""
    connect_timeout_ms: int = 2_000


class Additive(msgspec.Struct, frozen=True, kw_only=True):
    """An output whose graph sums functions of single input elements, under a link.

    Of linear models, and of others with no interaction, explanations are exact in the link's space.
    """

    output: str
    link: Literal["identity", "logistic", "softmax"] = "identity"
    """What makes the output of the sum. ``logistic``: of two classes whose sums are opposite."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides how a version answers. Never changes once registered.

    A version has either an ``artifact``, which engines run, or a ``remote``.
    """

    schema: Literal["tollway.manifest/1"] = "tollway.manifest/1"
    model: str
    platform: Literal["onnxruntime_onnx", "open_inference_remote"] = "onnxruntime_onnx"
    task: Task = "unknown"
    artifact: Blob | None = None
    remote: Remote | UnsetType = UNSET
    """Absent, not null, where there is none: manifests from before it keep their digests."""
    files: tuple[Blob, ...] = ()
    """External data files of the graph, by relative path."""
    golden: Blob | None = None
    """Golden rows, see :class:`Golden`."""
    background: Blob | UnsetType = UNSET
    """Rows that explanations compare with, see :class:`Background`; absent where there are none."""
    additive: tuple[Additive, ...] | UnsetType = UNSET
    """Outputs that the graph's inspection found to be sums; absent where there are none."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    columns: tuple[Column, ...] = ()
    labels: tuple[str | int | float | bool, ...] = ()
    """A classifier's classes, in the order of its probabilities."""
    opsets: dict[str, int] = {}
    ir_version: int = 0
    libraries: dict[str, str] = {}
    conversion: dict[str, str] = {}
    parity: Parity | None = None
    metrics: dict[str, float] = {}
    description: str = ""

    def blobs(self) -> list[tuple[BlobRole, Blob]]:
        """(role, blob) for everything that the version needs; nothing for a remote one."""
        found: list[tuple[BlobRole, Blob]] = []
        if self.artifact is not None:
            found.append(("artifact", self.artifact))
        found += [("file", blob) for blob in self.files]
        if self.golden is not None:
            found.append(("golden", self.golden))
        if self.background is not UNSET:
            found.append(("background", self.background))
        return found


class Golden(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that an engine replays before it takes traffic: a V2 request and its expected response.

    Numeric outputs must satisfy ``|got - expected| <= atol + rtol * |expected|``; others be equal.
    """

    request: msgspec.Raw
    response: msgspec.Raw
    atol: float = 1e-5
    rtol: float = 1e-4


class Background(msgspec.Struct, frozen=True, kw_only=True):
    """Typical rows, as a V2 request: what a row's explanation compares it with."""

    request: msgspec.Raw


def sha256_digest(data: bytes) -> str:
    """``sha256:`` and the hex digest of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def canonical_json(manifest: Manifest) -> bytes:
    """The manifest as RFC 8785 canonical JSON, the bytes that its digest is taken of."""
    return rfc8785.dumps(msgspec.to_builtins(manifest))
