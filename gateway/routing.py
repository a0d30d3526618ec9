"""From a request to the version that answers it."""

import re
from typing import NamedTuple

from gateway.catalog import STABLE, Catalog, ModelEntry
from policies.base import Call, is_visible
from protocol.errors import Code, TollwayError
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


class Router:
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
    """Parse one path, see :class:`Router`."""
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


def choose_version(catalog: Catalog, call: Call) -> None:
    """Set ``call.version``, ``state`` and ``variant``: first match of version in the path, label in
    the path, ``Tollway-Version``, the stable version.

    What the caller may not see does not exist for them. Raises ``MODEL_NOT_FOUND`` or
    ``VERSION_NOT_FOUND``.
    """
    model = catalog.models.get(call.model)
    if model is None:
        raise _no_model(call)
    number = call.number
    if number is None and call.label is None:
        number = call.header_number
    if number is None:
        number = model.aliases.get(call.label or STABLE, 0)
        call.variant = "pinned" if call.label else "stable"
    else:
        call.variant = "pinned"
    version = model.versions.get(number)
    if version is None or not is_visible(model.name, version.state, call.identity):
        if not _sees(model, call):
            raise _no_model(call)
        raise TollwayError(Code.VERSION_NOT_FOUND, f"model '{call.model}' has no {_named(call)}")
    call.version, call.state, call.revision = number, version.state, model.revision
    call.deprecation = version.deprecation


def hide_unseen(catalog: Catalog, call: Call) -> None:
    """Drop the model's name from a call that was refused before its version was chosen, if there
    is no such model for the caller: records and metrics are read by others."""
    model = catalog.models.get(call.model)
    if model is None or not _sees(model, call):
        call.model = ""


def _sees(model: ModelEntry, call: Call) -> bool:
    return any(is_visible(model.name, v.state, call.identity) for v in model.versions.values())


def _no_model(call: Call) -> TollwayError:
    # Records and metrics carry only names that exist: what clients make up has no bound.
    unknown, call.model = call.model, ""
    return TollwayError(Code.MODEL_NOT_FOUND, f"there is no model '{unknown[:80]}'")


def _named(call: Call) -> str:
    """What the caller asked for, in words."""
    if call.number is None and (call.label is not None or call.header_number is None):
        return f"label '{(call.label or STABLE)[:80]}'"
    number = call.header_number if call.number is None else call.number
    return f"version {number}" if number else "such version"
