"""What a remote server says of a model, asked when a version of it is registered."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from protocol.datatypes import DATATYPES
from protocol.errors import Code, TollwayError
from protocol.manifest import Remote, Tensor
from runtime.remote_credentials import ReadSecret, Secret
from runtime.remote_server import RemoteAnswer, RemoteFault, RemoteServer, check_remote, tls_context
from runtime.targets import Targets

ASK_S: Final = 10.0
"""Time for the server's answer, however long its predictions may take."""
MAX_METADATA_BYTES: Final = 1 << 20
MAX_TENSORS: Final = 1000
MAX_DIMENSIONS: Final = 64
MAX_NAME: Final = 1000
BINARY: Final = "binary_tensor_data"
"""The extension's name in a server's metadata."""
_MAX_SIZE: Final = 2**53 - 1
_AT_ONCE: Final = 2
_WAIT_S: Final = 10.0
_OK: Final = 200


class RemoteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the publisher states; see :class:`protocol.manifest.Remote`."""

    url: str
    model: str
    version: str = ""
    credential: str = ""
    binary: bool | None = None
    """Whether the server speaks binary tensors; None: it is asked for its extensions."""
    timeout_ms: int = 30_000
    connect_timeout_ms: int = 2_000
    inputs: tuple[Tensor, ...] = ()
    """For a server that does not describe its model; else what it says is what counts."""
    outputs: tuple[Tensor, ...] = ()


class RemoteInspection(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model is, as it is stored, and what it takes and gives."""

    remote: Remote
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


InspectRemote = Callable[[str, RemoteRequest], RemoteInspection]
"""``inspect(model, request)``: see :meth:`RemoteInspector.__call__`."""


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]


class _Server(msgspec.Struct):
    extensions: list[str] = []


class _Metadata(msgspec.Struct):
    inputs: list[_Tensor] = []
    outputs: list[_Tensor] = []


def no_remotes(_model: str, _request: RemoteRequest) -> RemoteInspection:
    """The answer of a registry that was built without the means to ask."""
    raise TollwayError(Code.INVALID, "this registry takes no remote versions")


class RemoteInspector:
    """Asks remote servers for their metadata. Thread-safe; calls block."""

    def __init__(self, targets: Targets, secret: ReadSecret, ca_file: Path | None = None) -> None:
        """``ca_file`` (PEM) replaces the public CAs."""
        self._targets = targets
        self._secret = secret
        self._ca_file = ca_file
        self._turns = threading.BoundedSemaphore(_AT_ONCE)

    def __call__(self, model: str, request: RemoteRequest) -> RemoteInspection:
        """Ask the server for the model's inputs and outputs.

        Raises ``INVALID`` for a URL or credential that cannot be used, ``INVALID_MODEL`` where the
        server does not answer, or not for this model, and ``UNAVAILABLE`` while others are asked.
        """
        remote = check_remote(
            Remote(
                url=request.url,
                model=request.model,
                version=request.version,
                credential=request.credential,
                timeout_ms=request.timeout_ms,
                connect_timeout_ms=request.connect_timeout_ms,
            )
        )
        secret = self._secret(model, remote)
        with self._turn():
            answer, binary = asyncio.run(self._ask(remote, secret))
        if answer.status != _OK:
            raise _unfit(
                remote,
                f"answered {answer.status} when it was asked for model {remote.model!r}"
                + (": does it need a credential?" if answer.status in {401, 403} else ""),
            )
        try:
            found = msgspec.json.decode(answer.body, type=_Metadata)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _unfit(remote, "answered with what is not the protocol's metadata") from None
        return RemoteInspection(
            remote=msgspec.structs.replace(
                remote, binary=binary if request.binary is None else request.binary
            ),
            inputs=_chosen("inputs", remote, _tensors(remote, found.inputs), request.inputs),
            outputs=_chosen("outputs", remote, _tensors(remote, found.outputs), request.outputs),
        )

    async def _ask(self, remote: Remote, secret: Secret | None) -> tuple[RemoteAnswer, bool]:
        """The model's metadata, and whether the server says that it speaks binary tensors."""
        server = RemoteServer(remote, self._targets, verify=tls_context(self._ca_file))
        server.secret = secret
        try:
            async with asyncio.timeout(ASK_S):
                model = await server.get("", MAX_METADATA_BYTES)
                return model, _speaks_binary(await server.get_server(MAX_METADATA_BYTES))
        except TimeoutError:
            raise _unfit(remote, f"did not answer within {ASK_S:g} s") from None
        except RemoteFault as fault:
            raise _unfit(remote, f"cannot be asked: {fault}", repr(fault.__cause__)) from None
        finally:
            await server.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=_WAIT_S):
            raise TollwayError(
                Code.UNAVAILABLE, "other remote servers are being asked; try again in a moment"
            )
        try:
            yield
        finally:
            self._turns.release()


def _speaks_binary(answer: RemoteAnswer) -> bool:
    try:
        found = msgspec.json.decode(answer.body, type=_Server).extensions
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return answer.status == _OK and BINARY in found


def _tensors(remote: Remote, given: list[_Tensor]) -> tuple[Tensor, ...]:
    names = {tensor.name for tensor in given}
    if len(given) > MAX_TENSORS or len(names) < len(given):
        raise _unfit(remote, "describes too many tensors, or two of one name")
    for tensor in given:
        if not tensor.name or len(tensor.name) > MAX_NAME or "\0" in tensor.name:
            raise _unfit(remote, "describes a tensor without a usable name")
        if tensor.datatype not in DATATYPES:
            raise _unfit(
                remote,
                f"describes tensor {tensor.name[:80]!r} of datatype {tensor.datatype[:20]!r}, "
                "which the protocol does not have",
            )
        sizes = all(-1 <= size <= _MAX_SIZE for size in tensor.shape)
        if len(tensor.shape) > MAX_DIMENSIONS or not sizes:
            raise _unfit(remote, f"describes tensor {tensor.name[:80]!r} with an impossible shape")
    return tuple(
        Tensor(name=tensor.name, datatype=tensor.datatype, shape=tuple(tensor.shape))
        for tensor in given
    )


def _chosen(
    what: str, remote: Remote, found: tuple[Tensor, ...], stated: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    if not found and not stated:
        raise _unfit(remote, f"does not describe the model's {what}: state them in 'remote.{what}'")
    if found and stated:
        theirs = {(t.name, t.datatype, t.shape) for t in found}
        if theirs != {(t.name, t.datatype, t.shape) for t in stated}:
            listed = ", ".join(f"{t.name[:80]} {t.datatype} {list(t.shape)}" for t in found[:20])
            raise _unfit(remote, f"describes other {what} than those stated: it has {listed}")
    return stated or found


def _unfit(remote: Remote, why: str, internal: str = "") -> TollwayError:
    return TollwayError(
        Code.INVALID_MODEL, f"the remote server of model {remote.model[:80]!r} {why}", internal
    )
