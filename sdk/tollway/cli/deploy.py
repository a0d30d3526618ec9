"""``tollway deploy``."""

import importlib
import pickle
from pathlib import Path
from typing import Annotated

import typer

from tollway import errors
from tollway.cli.output import Json, print_fields, print_json
from tollway.cli.rows import read_frame
from tollway.client import Client

_PICKLES = {".joblib", ".pkl", ".pickle"}


def deploy(
    file: Annotated[
        Path, typer.Argument(help="An .onnx file, or an estimator: .joblib, .pkl, .pickle.")
    ],
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
    as_json: Json = False,
) -> None:
    """Deploy a model: it answers by REST when this ends."""
    metrics = _metrics(metric or [])
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
            description=description,
            metrics=metrics,
            rtol=rtol,
            atol=atol,
            progress=False if as_json else None,
            timeout_s=timeout,
        )
        if as_json:
            print_json(version)
            return
        parity = version.parity
        print_fields(
            {
                "model": version.model,
                "version": version.number,
                "state": version.state,
                "digest": version.digest,
                "parity": "not proven: the file came without its estimator"
                if parity is None
                else f"{parity.rows} rows, largest difference {parity.max_abs_error:.3g}",
                "url": f"{client.url}/v2/models/{version.model}"
                + (f"/versions/{version.number}/infer" if stage else "/infer"),
            }
        )


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
