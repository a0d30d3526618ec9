"""What a model has to fulfil, as its publisher and its sponsor agreed on it. Immutable canonical
JSON (RFC 8785), numbered 1, 2, 3 ... per model and known by its digest."""

from typing import Literal

import msgspec
import rfc8785

from protocol.configuration import ContractDoc
from protocol.manifest import sha256_digest


class Constraints(msgspec.Struct, frozen=True, kw_only=True):
    """What limits the solution, in words for people."""

    technical: tuple[str, ...] = ()
    regulatory: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model's requirements."""

    schema: Literal["tollway.requirements/1"] = "tollway.requirements/1"
    problem: str = ""
    """The problem that the model is to solve."""
    owner: str = ""
    """Who answers for the model towards its users: a person or a team."""
    sponsor: str | None = None
    """The user whose approval every version needs; None: none is needed."""
    criteria: tuple[str, ...] = ()
    """What evidence has to show, in the language of :mod:`registry.criteria`."""
    constraints: Constraints = Constraints()
    contract: ContractDoc | None = None
    segments: dict[str, str] = {}
    """Name -> condition, in the language of :mod:`protocol.segments`."""

    def canonical(self) -> bytes:
        """Its canonical JSON. Raises ``rfc8785.CanonicalizationError`` for numbers that are not
        finite."""
        return rfc8785.dumps(msgspec.to_builtins(self))

    def digest(self) -> str:
        """``sha256:`` of its canonical JSON."""
        return sha256_digest(self.canonical())
