"""Trains two models, deploys them through the SDK, makes a key, and prints curl lines.

    python -m demo.publish TOKEN_FILE [--check]     reads the server's URL from stdin

What an earlier run has deployed is found again by its fingerprint and not deployed twice.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

import tollway
from demo import calls, training

APPLICATION = "demo"
KEY_LABEL = "make demo"


def main() -> int:
    """Returns the exit code."""
    token_file, check = Path(sys.argv[1]), "--check" in sys.argv[2:]
    models = [training.breast_cancer(), training.diabetes()]
    url = sys.stdin.readline().strip()
    if not url:
        return 1  # the stack did not start, and has said why
    try:
        with tollway.Client(url, token_file.read_text().strip()) as client:
            return _fill(client, models, check=check)
    except tollway.TollwayError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def _fill(client: tollway.Client, models: list[training.Trained], *, check: bool) -> int:
    versions = {model.name: _deployed(client, model) for model in models}
    key = _key(client, [model.name for model in models])
    failures = 0
    for model in models:
        print(f"\n# {model.title}")
        print(f"# scikit-learn itself answers {model.predictions.tolist()}")
        for line in (
            calls.v2(client.url, key, model, versions[model.name]),
            calls.v1(client.url, key, model),
        ):
            print(line, flush=True)
            if check:
                failures += not _right(line, model)
    if check:
        print("\nevery answer equals scikit-learn's" if not failures else f"\n{failures} failed")
    return 1 if failures else 0


def _deployed(client: tollway.Client, model: training.Trained) -> tollway.Version:
    """The stable version when it is this model already, else a new one."""
    try:
        stable = client.model(model.name).stable
        if stable is not None:
            version = client.version(model.name, stable)
            if version.manifest.description == model.fingerprint:
                print(f"{model.name}: version {stable} is there already")
                return version
    except tollway.NotFoundError:
        pass  # the first run on this data directory
    version = client.deploy(
        model.estimator,
        name=model.name,
        X=model.X,
        y=model.y,
        title=model.title,
        description=model.fingerprint,
        metrics=model.metrics,
        progress=None if sys.stderr.isatty() else _step(model.name),
    )
    error = version.parity.max_abs_error if version.parity else float("nan")
    print(f"{model.name}: version {version.number} deployed, largest difference {error:.2g}")
    return version


def _step(name: str) -> Callable[[str], None]:
    return lambda message: print(f"{name}: {message}", flush=True)


def _key(client: tollway.Client, names: list[str]) -> str:
    """A key for this run. Secrets are shown once, so that of an earlier run is lost: revoked."""
    old = []
    if any(application.name == APPLICATION for application in client.applications()):
        old = [key for key in client.keys(APPLICATION) if key.revoked_at is None]
    for name in names[1:]:
        client.create_application(APPLICATION)
        client.subscribe(APPLICATION, name)
    secret = client.create_key(APPLICATION, names[0], label=KEY_LABEL).secret
    for key in old:
        if key.label == KEY_LABEL:
            client.revoke_key(key.id)
    return secret


def _right(line: calls.CurlLine, model: training.Trained) -> bool:
    try:
        answer = line.run()
    except (subprocess.SubprocessError, OSError, httpx.HTTPError) as error:
        print(f"  FAILED: {error}")
        return False
    wrong = calls.difference(answer, model)
    print(f"  {answer.strip()[:300]}")
    print(f"  FAILED: {wrong}" if wrong else "  equals scikit-learn's answer", flush=True)
    return wrong is None


if __name__ == "__main__":
    sys.exit(main())
