"""What the workers report of a version. The registry asks for it; the composition root knows."""

from collections.abc import Callable
from typing import Literal

import msgspec

from registry.store.database import Transaction

ServingState = Literal["none", "loading", "ready", "failed"]


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One engine of the version, as its worker last reported it."""

    worker: str
    slot: int
    state: str
    error: str = ""


class ServingStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``ready``: at least one engine answers, or will when it is called (its state is
    ``cold`` until then); ``failed``: none does and one has failed (``error``
    says why); ``loading``: engines are starting; ``none``: no worker holds the version."""

    state: ServingState = "none"
    engines: tuple[EngineStatus, ...] = ()
    error: str = ""


HeldBy = Callable[[Transaction, str, int], list[str]]
"""``held_by(connection, model, number)``: who outside of the registry relies on a version, in words
such as ``the pin of application 'shop'``; asked within the transaction that would end it."""


def held_by_nobody(_connection: Transaction, _model: str, _number: int) -> list[str]:
    """The answer where the registry is all there is."""
    return []


ServingStatusOf = Callable[[str, int], ServingStatus]
"""``serving_status(model, number)``; called outside of transactions, may be called often."""


def no_engines(_model: str, _number: int) -> ServingStatus:
    """The answer where no worker is known."""
    return ServingStatus()
