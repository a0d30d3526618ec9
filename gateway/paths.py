"""What a prediction path names."""

import re
from typing import NamedTuple

from protocol.frames import Operation

_V2 = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_V1 = re.compile(r"/v1/models/([^/:]+)(?:/versions/([^/:]+)|/labels/([^/:]+))?:(predict|explain)")
MAX_VERSION_DIGITS = 9
CACHED_PATHS = 4096
CACHED_PATH_LENGTH = 256
"""Longer paths are parsed each time: what anybody can send must not fill the memory."""


class Target(NamedTuple):
    """What a prediction path names."""

    operation: Operation
    model: str
    version: str | None
    label: str | None


class Paths:
    """Parses prediction paths. Remembers the answers: most calls use few paths."""

    def __init__(self) -> None:
        self._cache: dict[str, Target | None] = {}

    def target(self, path: str) -> Target | None:
        """The target of a prediction path; None for every other path."""
        try:
            return self._cache[path]
        except KeyError:
            target = parse(path)
            if len(path) > CACHED_PATH_LENGTH:
                return target
            if len(self._cache) >= CACHED_PATHS:
                self._cache.clear()
            self._cache[path] = target
            return target


def parse(path: str) -> Target | None:
    """Parse one path, see :class:`Paths`."""
    if (match := _V2.fullmatch(path)) is not None:
        return Target(Operation.V2_INFER, match[1], match[2], None)
    if (match := _V1.fullmatch(path)) is not None:
        operation = Operation.V1_PREDICT if match[4] == "predict" else Operation.V1_EXPLAIN
        return Target(operation, match[1], match[2], match[3])
    return None


def parse_version(text: str | bytes) -> int | None:
    """A version number as clients write it; None when it is not one."""
    if len(text) > MAX_VERSION_DIGITS or not text.isdigit() or not text.isascii():
        return None
    return int(text) or None
