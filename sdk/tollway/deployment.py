"""From an estimator to a version that answers: the whole way of ``Client.deploy``, in order."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from tollway import errors
from tollway.gates import Gates
from tollway.progress import Choice, Reporter, reporter
from tollway.registry import STABLE, Registry, Waiter, check_name
from tollway.remote import RemoteModel
from tollway.resources import Blob, Version
from tollway.rollouts import said
from tollway.transport import Transport
from tollway.upload import FINISH_S, Source, upload

if TYPE_CHECKING:
    from tollway.conversion import Converted

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What ``Client.deploy`` was asked for."""

    model: object
    name: str
    X: object = None
    y: object = None
    stage: bool = False
    force: bool = False
    reason: str = ""
    title: str | None = None
    description: str = ""
    metrics: Mapping[str, float] | None = None
    rtol: float | None = None
    atol: float | None = None
    background: int = 100
    example: object = None
    progress: Choice = None
    timeout_s: float = 300.0


class Deployer:
    """Carries deployments out."""

    def __init__(
        self, transport: Transport, registry: Registry, gates: Gates, waiter: Waiter
    ) -> None:
        self._transport = transport
        self._registry = registry
        self._gates = gates
        self._waiter = waiter

    def deploy(self, wish: Deployment) -> Version:
        """Convert, prove, upload, register, wait, publish, move traffic; return the version.

        What fails before the registration leaves nothing visible. What fails after it leaves a
        version without traffic, and the model answers as before; :class:`GateError` where the
        model's requirements ask for evidence or an approval first.
        """
        check_name(wish.name, "model")
        with reporter(wish.progress) as show:
            show.step(f"looking for {self._transport.url}")
            self._greet(wish.name)
            show.step("converting and proving parity")
            converted = self._convert(wish, show)
            request = self._upload(wish, converted, show)
            show.step("registering")
            return self._publish(
                wish.name,
                request,
                wish.stage,
                wish.timeout_s,
                show,
                said(wish.reason, force=wish.force),
            )

    def register_remote(
        self,
        name: str,
        remote: RemoteModel,
        *,
        stage: bool,
        force: bool,
        reason: str,
        title: str | None,
        progress: Choice,
        timeout_s: float,
    ) -> Version:
        """Register, wait, publish, move traffic; return the version. See :meth:`deploy`."""
        check_name(name, "model")
        request = remote.request()
        with reporter(progress) as show:
            show.step(f"looking for {self._transport.url}")
            self._make(name, title)
            show.step(f"registering model '{remote.model}' of {remote.url}")
            more = said(reason, force=force)
            return self._publish(name, request, stage, timeout_s, show, more)

    def _publish(
        self,
        name: str,
        request: dict[str, object],
        stage: bool,
        timeout_s: float,
        show: Reporter,
        more: Mapping[str, object],
    ) -> Version:
        version = self._register(name, request)
        what = "engine" if version.manifest.remote is None else "server"
        show.step(f"waiting for the {what} of version {version.number}")
        version = self._registry.wait_ready(name, version.number, timeout_s)
        if stage:
            version = self._registry.walk(version, "validated")
            self._registry.wait_live(name, version.number, None, timeout_s)
            show.step(f"'{name}' version {version.number} is loaded, without traffic")
            return version
        self._walk_through_gate(name, version, timeout_s)
        show.step("moving traffic")
        self._registry.roll_out(name, version.number, more)
        self._registry.wait_live(name, version.number, STABLE, timeout_s)
        show.step(f"'{name}' version {version.number} answers")
        return self._registry.version(name, version.number)

    def _walk_through_gate(self, name: str, version: Version, timeout_s: float) -> None:
        """Publish the version, or leave it staged and say what its model's requirements lack."""
        version = self._registry.walk(version, "validated")
        try:
            self._registry.walk(version, "published")
        except errors.ConflictError as refused:
            held_back = self._gates.held_back(name, version.number)
            if held_back is None:
                raise
            self._registry.wait_live(name, version.number, None, timeout_s)
            raise held_back from refused

    def _make(self, name: str, title: str | None) -> None:
        model: dict[str, object] = {} if title is None else {"title": title}
        self._transport.request("PUT", f"/api/v1/models/{name}", json=model)

    def _greet(self, name: str) -> None:
        """Find out that the server or the token is wrong before minutes go into a conversion."""
        self._transport.request("GET", f"/api/v1/models/{name}", accept=frozenset({_NOT_FOUND}))

    def _convert(self, wish: Deployment, show: Reporter) -> "Converted":
        from tollway.conversion import convert  # noqa: PLC0415 -- importing tollway stays light

        converted = convert(
            wish.model,
            wish.X,
            wish.y,
            rtol=wish.rtol,
            atol=wish.atol,
            background=wish.background,
            progress=show.step,
        )
        if wish.example is None:
            return converted
        from tollway.conversion.example import with_example  # noqa: PLC0415 -- as above

        return replace(converted, columns=with_example(converted.columns, wish.example))

    def _upload(
        self, wish: Deployment, converted: "Converted", show: Reporter
    ) -> dict[str, object]:
        """Upload every blob, and return the body of the registration."""
        self._make(wish.name, wish.title)
        artifact = Source(converted.onnx_bytes)
        golden = Source(converted.golden) if converted.golden is not None else None
        files = {path: Source(file) for path, file in sorted(converted.external_files.items())}
        sources = [(artifact, artifact.blob())]
        sources += [(source, source.blob(path)) for path, source in files.items()]
        if golden is not None:
            sources.append((golden, golden.blob()))
        background: dict[str, object] = {}
        if converted.background is not None:
            rows = Source(converted.background)
            sources.append((rows, rows.blob()))
            background = {"background": _stored(rows.blob())}
        self._send(sources, show)
        first = sources[0][1]
        return {
            "artifact": _stored(first),
            "files": [asdict(blob) for _, blob in sources if blob.path],
            "golden": _stored(golden.blob()) if golden is not None else None,
            "task": converted.task,
            "labels": converted.labels,
            "columns": converted.columns,
            "libraries": converted.libraries,
            "conversion": converted.conversion,
            "parity": asdict(converted.parity) if converted.parity is not None else None,
            "metrics": _metrics(converted.metrics, wish.metrics),
            "description": wish.description,
            # Left out where there is none, for servers from before explanations.
            **background,
        }

    def _send(self, sources: list[tuple[Source, Blob]], show: Reporter) -> None:
        total = sum(blob.size for _, blob in sources)
        show.step(f"uploading {_size(total)}")
        show.uploading(total)
        done = 0
        for source, blob in sources:
            upload(self._transport, source, blob, _above(done, show), self._waiter)
            done += blob.size

    def _register(self, name: str, request: dict[str, object]) -> Version:
        # The server inspects the graph before it answers: the larger, the longer.
        response = self._transport.request(
            "POST", f"/api/v1/models/{name}/versions", json=request, timeout_s=FINISH_S
        )
        return self._transport.read(response, Version)


def _above(base: int, show: Reporter) -> Callable[[int], None]:
    return lambda sent: show.uploaded(base + sent)


def _stored(blob: Blob) -> dict[str, object]:
    return {"digest": blob.digest, "size": blob.size}


def _metrics(converted: Mapping[str, float], given: Mapping[str, float] | None) -> dict[str, float]:
    merged = dict(converted)
    for name, value in (given or {}).items():
        try:
            merged[str(name)] = float(value)
        except (TypeError, ValueError) as error:
            raise errors.InvalidRequestError(
                f"metric {name!r} is {value!r}, but metrics are numbers"
            ) from error
    return merged


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004 -- decimal units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
