"""How the client library's command is called: its arguments, and the environment it gets. Pure but
for the look whether the library is there."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from control.evaluations.resources import EvaluationInput
from control.settings import ControlSettings

LIBRARY: Final = "tollway"
MEMORY_BYTES: Final = 2 << 30
MEMORY_FACTOR: Final = 24
"""Bytes of address space for each byte of the file, beside that: text, values, and resamples."""
# No proxies: the credential goes to the gateway and nobody between.
_PASSED_ON: Final = (
    "PATH",
    "LANG",
    "LC_ALL",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
_SERVER: Final = Path(__file__).resolve().parents[2]


def library_folder() -> Path | None:
    """The folder that the client library is imported from; None where it is not installed."""
    found = find_spec(LIBRARY)
    return None if found is None or found.origin is None else Path(found.origin).parents[1]


def arguments(
    model: str, number: int, wish: EvaluationInput, settings: ControlSettings, size: int
) -> list[str]:
    """What follows the interpreter. Nothing in it is secret: other users of the machine see it."""
    chosen = [
        f"--target={wish.target}",
        f"--rows-name={wish.rows_name}",
        *(f"--segments={segment}" for segment in wish.segments),
        "--importance" if wish.importance else "--no-importance",
        "--latency" if wish.latency else "--no-latency",
        f"--max-rows={settings.evaluation_max_rows}",
        "--progress=json",
    ]
    return [
        sys.executable,
        "-P",  # nothing that lies in the current folder is imported
        "-B",
        "-m",
        "control.evaluations.confined",
        str(int(settings.evaluation_timeout_s) + 1),
        str(MEMORY_BYTES + MEMORY_FACTOR * size),
        "evaluate",
        *chosen,
        "--",
        model,
        str(number),
        "-",  # the rows are its standard input
    ]


def environment(settings: ControlSettings, secret: str, library: Path) -> dict[str, str]:
    """All that the process gets: the credential is here, where only this user sees it."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if settings.gateway_url and settings.gateway_certificate_file is not None:
        kept["TOLLWAY_PINNED_CERTIFICATE"] = str(settings.gateway_certificate_file.absolute())
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join((str(_SERVER), str(library))),
        # Threads of the numeric libraries reserve address space, which is what is bounded.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "TOLLWAY_URL": settings.evaluations_url,
        "TOLLWAY_TOKEN": secret,
    }
