"""Configuration files: YAML that is read strictly, with the line of everything in it.

Safe YAML without its surprises: no aliases (a few lines could otherwise stand for gigabytes), no
key twice, every key a text, dates stay texts, and size and depth are bounded.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tollway import errors

MAX_BYTES: Final = 4 << 20
MAX_DEPTH: Final = 20
MAX_NUMBER: Final = 2**53
"""Up to here JSON's numbers are exact."""
Path = tuple[str, ...]
Value = dict[str, "Value"] | list["Value"] | str | int | float | bool | None
MERGED_DEPTH: Final = 2
"""Several files may share sections, and the items of a section of sections, not one item."""


class Source(NamedTuple):
    """A file's name, for messages, and its bytes."""

    name: str
    data: bytes


class Place(NamedTuple):
    """Where something stands."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """What the files say together."""

    data: dict[str, Value]
    places: dict[Path, Place] = field(repr=False)

    def items(self) -> int:
        """How many resources it names."""
        return sum(
            len(items) if section != "subscriptions" else sum(map(_length, items.values()))
            for section, items in self.data.items()
            if isinstance(items, dict)
        )

    def place(self, path: str) -> Place | None:
        """Where the item of a dotted path stands, or the nearest thing around it."""
        parts = tuple(path.split("."))
        for length in range(len(parts), 0, -1):
            if parts[:length] in self.places:
                return self.places[parts[:length]]
        return None


class _Loader(yaml.SafeLoader):
    """Refuses aliases and what is nested too deeply, while the file is still being parsed."""

    depth = 0

    def compose_node(self, parent: Node | None, index: int | Node | None) -> Node | None:
        """A node, if it may be there."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases (&name, *name) are not supported",
                event.start_mark,
            )  # fmt: skip
        if self.depth >= MAX_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"more than {MAX_DEPTH} levels", event.start_mark
            )
        self.depth += 1
        try:
            return super().compose_node(parent, index)  # type: ignore[arg-type]
        finally:
            self.depth -= 1


# Dates and sexagesimal numbers are texts here, as in YAML 1.2 and JSON.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_SEXAGESIMAL = re.compile(r"[-+]?[0-9_]+(:[0-9_.]+)+")


def read_files(sources: Sequence[Source]) -> ConfigurationFile:
    """What the files say together. Raises ``InvalidRequestError`` with file and line."""
    whole: dict[str, Value] = {}
    places: dict[Path, Place] = {}
    for source in sources:
        data, found = _read(source)
        _merge(whole, data, (), places, found)
        places.update({path: place for path, place in found.items() if path not in places})
    return ConfigurationFile(whole, places)


def write(data: object) -> str:
    """``data`` as such a file."""
    readable = yaml.safe_dump(data, sort_keys=True, allow_unicode=True, width=100)
    try:
        if read_files([Source("", readable.encode())]).data == data:
            return readable
    except errors.InvalidRequestError:
        pass  # a character that YAML takes for a line's end, such as U+0085: escaped below
    return yaml.safe_dump(data, sort_keys=True, width=100)


def _length(value: Value) -> int:
    return len(value) if isinstance(value, dict) else 1


def _read(source: Source) -> tuple[dict[str, Value], dict[Path, Place]]:
    if len(source.data) > MAX_BYTES:
        raise errors.InvalidRequestError(f"{source.name} is larger than {MAX_BYTES} bytes")
    loader: _Loader | None = None
    try:
        loader = _Loader(source.data)
        node = loader.get_single_node()
        places: dict[Path, Place] = {}
        value = None if node is None else _value(loader, node, (), source.name, places)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = source.name if mark is None else str(Place(source.name, mark.line + 1))
        raise errors.InvalidRequestError(f"{place}: {error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, UnicodeError, ValueError):
        raise errors.InvalidRequestError(f"{source.name} is not YAML in UTF-8") from None
    finally:
        if loader is not None:
            loader.dispose()
    if value is None:
        return {}, places
    if not isinstance(value, dict):
        raise errors.InvalidRequestError(f"{source.name}:1: a mapping of sections is expected")
    return value, places


def _value(loader: _Loader, node: Node, path: Path, file: str, places: dict[Path, Place]) -> Value:
    here = Place(file, node.start_mark.line + 1)
    places.setdefault(path, here)
    if not isinstance(node, ScalarNode) and not node.tag.endswith((":map", ":seq")):
        raise errors.InvalidRequestError(f"{here}: {node.tag} is not supported")
    if isinstance(node, MappingNode):
        made: dict[str, Value] = {}
        for key_node, value_node in node.value:
            place = Place(file, key_node.start_mark.line + 1)
            key = loader.construct_object(key_node) if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str):
                raise errors.InvalidRequestError(
                    f"{place}: a key must be a text; put it in quotes if it looks like a number"
                )
            if key in made:
                raise errors.InvalidRequestError(f"{place}: {key!r} is there twice")
            places[*path, key] = place
            made[key] = _value(loader, value_node, (*path, key), file, places)
        return made
    if isinstance(node, SequenceNode):
        return [
            _value(loader, item, (*path, str(number)), file, places)
            for number, item in enumerate(node.value)
        ]
    if _SEXAGESIMAL.fullmatch(str(node.value)):
        return str(node.value)
    found = loader.construct_object(node)
    if isinstance(found, int | float) and not abs(found) <= MAX_NUMBER:
        raise errors.InvalidRequestError(f"{here}: {node.value[:40]} is not a number that fits")
    if found is None or isinstance(found, str | int | float | bool):
        return found
    raise errors.InvalidRequestError(f"{here}: {node.tag} is not a text, number or truth value")


def _merge(
    whole: dict[str, Value],
    more: dict[str, Value],
    path: Path,
    places: dict[Path, Place],
    found: dict[Path, Place],
) -> None:
    for key, value in more.items():
        here = (*path, key)
        if key not in whole:
            whole[key] = value
            continue
        present = whole[key]
        open_to_more = len(here) < MERGED_DEPTH or (
            here[0] == "subscriptions" and len(here) == MERGED_DEPTH
        )
        if open_to_more and isinstance(present, dict) and isinstance(value, dict):
            _merge(present, value, here, places, found)
        elif open_to_more and value is None:
            continue
        else:
            raise errors.InvalidRequestError(
                f"{found[here]}: {'.'.join(here)} is at {places[here]} already"
            )
