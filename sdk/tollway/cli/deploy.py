"""``tollway deploy``."""

import importlib
import pickle
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from tollway import errors
from tollway.cli.output import Json, print_fields, print_json
from tollway.cli.rows import read_frame
from tollway.client import Client
from tollway.resources import Version

_PICKLES = {".joblib", ".pkl", ".pickle"}


def deploy(
    file: Annotated[
        Path | None,
        typer.Argument(help="An .onnx file, or an estimator: .joblib, .pkl, .pickle."),
    ] = None,
    *,
    name: Annotated[str, typer.Option(help="Name of the model.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Rows (.csv, .parquet, .npy) to prove parity on: the training data."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Column of --data that is the answer, not an input.")
    ] = None,
    stage: Annotated[
        bool, typer.Option("--stage", help="Load the version, but give it no traffic.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Give it the traffic even if it breaks callers; see --reason."
        ),
    ] = False,
    reason: Annotated[str, typer.Option(help="Why callers may be broken.")] = "",
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle", help="Unpickle the file, which runs whatever code it holds."
        ),
    ] = False,
    description: Annotated[str, typer.Option(help="What is new in this version.")] = "",
    metric: Annotated[
        list[str] | None, typer.Option(help="NAME=NUMBER to keep with the version; repeatable.")
    ] = None,
    rtol: Annotated[float | None, typer.Option(help="Relative tolerance of parity.")] = None,
    atol: Annotated[float | None, typer.Option(help="Absolute tolerance of parity.")] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for the server to take it up.")
    ] = 300.0,
    remote: Annotated[
        str | None,
        typer.Option(help="URL of another Open Inference Protocol server, in place of FILE."),
    ] = None,
    remote_model: Annotated[
        str | None, typer.Option(help="The model's name on --remote; else --name.")
    ] = None,
    remote_version: Annotated[
        str, typer.Option(help="The version on --remote; else the server's choice.")
    ] = "",
    background: Annotated[
        int, typer.Option(min=0, max=1000, help="Rows of --data that explanations compare with.")
    ] = 100,
    example: Annotated[
        str | None,
        typer.Option(help="Row that callers are shown, as JSON: by column, or in their order."),
    ] = None,
    credential: Annotated[
        str, typer.Option(help="Credential for --remote that operators have put on the servers.")
    ] = "",
    remote_timeout_ms: Annotated[
        int, typer.Option(min=1, help="Time for one answer of --remote.")
    ] = 30_000,
    as_json: Json = False,
) -> None:
    """Deploy a model: it answers by REST when this ends."""
    metrics = _metrics(metric or [])
    progress = False if as_json else None
    if remote is not None:
        _check_remote(file, data, target, rtol, atol, example)
        with Client() as client:
            version = client.register_remote(
                name,
                remote,
                model=remote_model,
                version=remote_version,
                credential=credential,
                timeout_ms=remote_timeout_ms,
                stage=stage,
                force=force,
                reason=reason,
                description=description,
                metrics=metrics,
                progress=progress,
                timeout_s=timeout,
            )
            _show(version, client.url, as_json)
        return
    if file is None or remote_model or remote_version or credential:
        raise typer.BadParameter("give FILE, or --remote URL", param_hint="FILE")
    model = _model(file, trust_pickle)
    X = y = None
    if data is not None:
        X, y = read_frame(data, target, model)
    with Client() as client:
        version = client.deploy(
            model,
            name,
            X,
            y,
            stage=stage,
            force=force,
            reason=reason,
            description=description,
            metrics=metrics,
            rtol=rtol,
            atol=atol,
            background=background,
            example=None if example is None else _example(example),
            progress=progress,
            timeout_s=timeout,
        )
        _show(version, client.url, as_json)


def _example(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise typer.BadParameter(f"is not JSON: {error}", param_hint="--example") from None


def _check_remote(file: Path | None, *proofs: object) -> None:
    if file is not None:
        raise typer.BadParameter("give FILE or --remote, not both", param_hint="FILE")
    if any(proof is not None for proof in proofs):
        raise typer.BadParameter(
            "parity is proven for files: --data, --target, --rtol, --atol and --example say"
            " nothing here",
            param_hint="--remote",
        )


def _show(version: Version, url: str, as_json: bool) -> None:
    if as_json:
        print_json(version)
        return
    remote, parity = version.manifest.remote, version.parity
    fields: dict[str, object] = {
        "model": version.model,
        "version": version.number,
        "state": version.state,
        "digest": version.digest,
    }
    if remote is not None:
        fields["remote"] = f"{remote.url}, model {remote.model}"
    elif parity is None:
        fields["parity"] = "not proven: the file came without its estimator"
    else:
        fields["parity"] = f"{parity.rows} rows, largest difference {parity.max_abs_error:.3g}"
    traffic = version.state in {"published", "deprecated"}
    fields["url"] = f"{url}/v2/models/{version.model}" + (
        "/infer" if traffic else f"/versions/{version.number}/infer"
    )
    print_fields(fields)


def _model(file: Path, trusted: bool) -> object:
    if file.suffix not in _PICKLES:
        if file.suffix != ".onnx":
            raise errors.InvalidRequestError(
                f"{file} has the ending {file.suffix!r}; .onnx, .joblib, .pkl and .pickle deploy"
            )
        if not file.is_file():
            raise FileNotFoundError(2, "there is no such file", str(file))
        return file
    if not trusted:
        raise errors.InvalidRequestError(
            f"{file} is a pickle, and loading one runs whatever code it holds: add --trust-pickle"
            " if you made the file yourself, or deploy an .onnx file"
        )
    try:
        return _unpickle(file)
    except OSError:
        raise
    except Exception as error:
        # Unpickling runs code of any library, so anything may come out of it.
        raise errors.InvalidRequestError(
            f"{file} cannot be loaded ({type(error).__name__}: {error}); the libraries and their"
            " versions must be those that it was saved with"
        ) from error


def _unpickle(file: Path) -> object:
    try:
        # Comes with scikit-learn, which the client can do without.
        joblib = importlib.import_module("joblib")
    except ImportError:
        with file.open("rb") as stream:
            return pickle.load(stream)  # noqa: S301 -- asked for with --trust-pickle
    loaded: object = joblib.load(file)
    return loaded


def _metrics(given: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for item in given:
        name, _, number = item.partition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise typer.BadParameter(
                f"{item!r} is not NAME=NUMBER", param_hint="--metric"
            ) from None
    return found
