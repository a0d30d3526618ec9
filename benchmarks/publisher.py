"""A publisher in a process of its own: ``python -m benchmarks.publisher`` deploys a graph, staged.

It reads a :class:`Wish` from its standard input, and prints a line when each step begins. In life
it would be on another machine.
"""

import sys

import msgspec
import numpy as np

import tollway
from benchmarks.stand_in import stand_in

ROWS = 20
DONE = "done"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be deployed, and where."""

    url: str
    token: str
    model: str
    path: str
    """Of an ONNX file with one input of ``columns`` floats."""
    columns: int


def main() -> None:
    """Deploy, and say so."""
    stand_in()
    wish = msgspec.json.decode(sys.stdin.buffer.read(), type=Wish)
    rows = np.random.default_rng(0).random((ROWS, wish.columns), np.float32)
    client = tollway.Client(wish.url, token=wish.token)
    try:
        client.deploy(wish.path, name=wish.model, X=rows, stage=True, progress=_say)
    finally:
        client.close()
    _say(DONE)


def _say(step: str) -> None:
    sys.stdout.write(step + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
