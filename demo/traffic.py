"""Light traffic of the demo's applications, so that charts and the canary's test move.

python -m demo.traffic      reads one line of JSON from stdin, and calls until stdin ends
"""

import os
import random
import sys
import threading
import time
from collections.abc import Sequence

import httpx
import msgspec

PAUSE_S = 0.3
BACK_OFF_S = 2.0
MISTAKES = 0.02
SEED = 11


class Caller(msgspec.Struct, frozen=True):
    """An application that calls a model with one of its rows each time."""

    key: str
    path: str
    rows: Sequence[object]
    weight: float = 1.0


class Order(msgspec.Struct, frozen=True):
    """Who calls, and where."""

    url: str
    callers: tuple[Caller, ...]


def main() -> None:
    """Call until whoever started this is gone."""
    line = sys.stdin.buffer.readline()
    if not line:
        return  # there is nothing to call
    order = msgspec.json.decode(line, type=Order)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    chance = random.Random(SEED)
    weights = [caller.weight for caller in order.callers]
    with httpx.Client(base_url=order.url, timeout=10, trust_env=False) as client:
        while True:
            [caller] = chance.choices(order.callers, weights)
            call(client, caller, chance)
            time.sleep(chance.expovariate(1 / PAUSE_S))


def call(client: httpx.Client, caller: Caller, chance: random.Random) -> int | None:
    """Call once; the status, or None where nothing answered. Now and then the caller is mistaken
    about its columns."""
    row = chance.choice(caller.rows)
    if chance.random() < MISTAKES and isinstance(row, dict):
        row = {name: value for name, value in row.items() if name != next(iter(row))}
    try:
        return client.post(
            caller.path, json={"instances": [row]}, headers={"X-API-Key": caller.key}
        ).status_code
    except httpx.TransportError:
        time.sleep(BACK_OFF_S)  # the stack starts its gateway again, or stops
        return None


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
